// Copies of strided memory on a CPU, shared by copy and concat.
#pragma once

#include <cstring>

#include "common/box.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

// body(U{}) with the unsigned type as wide as the dtype: a copy moves bits.
template <class Body>
inline void with_word(DType dtype, Body &&body) {
  switch (dtype_bytes(dtype)) {
    case 1:
      return body(uint8_t{});
    case 2:
      return body(uint16_t{});
    case 4:
      return body(uint32_t{});
    default:
      return body(uint64_t{});
  }
}

template <class U>
inline void copy_run(U *to, const U *from, const Box &b) {
  if (b.rows()) {
    std::memcpy(to, from, size_t(b.shape[3]) * sizeof(U));
  } else {
    for (int64_t i = 0; i < b.shape[3]; ++i) to[i * b.to[3]] = from[i * b.from[3]];
  }
}

// Runs [begin, end) of the box, counted over its three outer dimensions.
template <class U>
inline void copy_runs(U *to, const U *from, const Box &b, int64_t begin, int64_t end) {
  for (int64_t run = begin; run < end; ++run) {
    const int64_t i2 = run % b.shape[2], rest = run / b.shape[2], i1 = rest % b.shape[1], i0 = rest / b.shape[1];
    copy_run(to + i0 * b.to[0] + i1 * b.to[1] + i2 * b.to[2], from + i0 * b.from[0] + i1 * b.from[1] + i2 * b.from[2],
             b);
  }
}

inline void copy_box_plain(void *to, const void *from, const Box &b, DType dtype) {
  with_word(dtype, [&]<class U>(U) {
    copy_runs(static_cast<U *>(to), static_cast<const U *>(from), b, 0, b.shape[0] * b.shape[1] * b.shape[2]);
  });
}

// A single long run is cut, so that it too is copied by more than one thread.
inline void copy_box(void *to, const void *from, const Box &b, DType dtype) {
  constexpr int64_t kCut = 1 << 16;
  with_word(dtype, [&]<class U>(U) {
    U *out = static_cast<U *>(to);
    const U *in = static_cast<const U *>(from);
    const int64_t runs = b.shape[0] * b.shape[1] * b.shape[2];
    if (runs == 1)
      return parallel_for(b.shape[3], kCut, [&](int64_t begin, int64_t end) {
        Box part = b;
        part.shape[3] = end - begin;
        copy_run(out + begin * b.to[3], in + begin * b.from[3], part);
      });
    parallel_for(runs, 1 + 8192 / (b.shape[3] + 1),
                 [&](int64_t begin, int64_t end) { copy_runs(out, in, b, begin, end); });
  });
}

}  // namespace opswap::OPSWAP_ISA
