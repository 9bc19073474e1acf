// Copies between strided boxes on a device, shared by copy and concat.
#pragma once

#define OPSWAP_ISA OPSWAP_PASS  // the box's arithmetic belongs to the pass that uses it
#include "common/box.h"
#include "common/device/copy_rows.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

// Strides count words; the innermost dimension is the row.
struct BoxCopy {
  void *to;
  const void *from;
  Box box;
};
template <int Count>
struct BoxCopies {
  BoxCopy part[Count];
};

// blockIdx.y picks the part.
template <class Word, int Count>
__global__ void __launch_bounds__(kCopyThreads) copy_boxes_kernel(const __grid_constant__ BoxCopies<Count> copies) {
  dependency_wait();
  dependency_trigger();
  const BoxCopy &c = copies.part[blockIdx.y];
  const Box &b = c.box;
  copy_rows<Word>(b.shape[0] * b.shape[1] * b.shape[2], b.shape[3], [&](int64_t row) {
    const int64_t i2 = row % b.shape[2], rest = row / b.shape[2], i1 = rest % b.shape[1], i0 = rest / b.shape[1];
    return RowCopy<Word>{static_cast<Word *>(c.to) + i0 * b.to[0] + i1 * b.to[1] + i2 * b.to[2],
                         static_cast<const Word *>(c.from) + i0 * b.from[0] + i1 * b.from[1] + i2 * b.from[2], b.to[3],
                         b.from[3]};
  });
}

// Bytes of the widest word that the box can be copied in: one element where a row has gaps.
inline int64_t word_bytes(const BoxCopy &c, int64_t element) {
  const Box &b = c.box;
  if (!b.rows()) return element;
  int64_t all = int64_t(reinterpret_cast<uintptr_t>(c.to) | reinterpret_cast<uintptr_t>(c.from));
  for (int d = 0; d + 1 < kBoxRank; ++d)
    if (b.shape[d] > 1) all |= (b.to[d] | b.from[d]) * element;
  return widest_access({all, b.shape[3] * element});
}

// The box counted in words instead of elements.
inline Box in_words(Box b, int64_t element, int64_t word) {
  if (word == element) return b;
  for (int d = 0; d + 1 < kBoxRank; ++d) b.to[d] = b.to[d] * element / word, b.from[d] = b.from[d] * element / word;
  b.shape[3] = b.shape[3] * element / word;
  b.to[3] = b.from[3] = 1;
  return b;
}

// All parts in one launch, in words that suit all of them.
template <int Count>
opswap_status copy_boxes(const opswap_exec &exec, BoxCopies<Count> copies, int64_t element) {
  int64_t word = kWidest, rows = 0, words = 0;
  for (const BoxCopy &c : copies.part)
    if (c.box.elements()) word = std::min(word, word_bytes(c, element));
  for (BoxCopy &c : copies.part) {
    if (!c.box.elements()) {
      c.box = Box{.shape = {0, 1, 1, 1}};
      continue;
    }
    c.box = in_words(c.box, element, word);
    rows = std::max(rows, c.box.shape[0] * c.box.shape[1] * c.box.shape[2]);
    words = std::max(words, c.box.shape[3]);
  }
  Geometry geometry = copy_geometry(exec, rows, words, word);
  geometry.grid.y = Count;
  return with_word(word, [&]<class Word>(Word) {
    return launch(exec, "copy_boxes_kernel", copy_boxes_kernel<Word, Count>, geometry, copies);
  });
}

}  // namespace opswap::OPSWAP_PASS
