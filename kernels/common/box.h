// A copy between two strided boxes of one shape: which dimensions can be walked as one.
#pragma once

#include <cstdint>

#include "types.h"

namespace opswap::OPSWAP_ISA {

constexpr int kBoxRank = 4;

// Strides in elements; the last dimension is the innermost. A dimension that is not used has size 1.
struct Box {
  int64_t shape[kBoxRank] = {1, 1, 1, 1}, to[kBoxRank] = {}, from[kBoxRank] = {};

  int64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  bool rows() const { return shape[3] == 1 || (to[3] == 1 && from[3] == 1); }  // the innermost run is contiguous
};

// Fewest dimensions that still reach every element, ordered by the written strides, right-aligned.
inline Box make_box(const int64_t *shape, const int64_t *to, const int64_t *from) {
  Box b;
  int n = 0;
  for (int d = 0; d < kBoxRank; ++d) {
    if (shape[d] == 1) continue;
    int at = n++;
    for (; at > 0 && b.to[at - 1] < to[d]; --at)
      b.shape[at] = b.shape[at - 1], b.to[at] = b.to[at - 1], b.from[at] = b.from[at - 1];
    b.shape[at] = shape[d], b.to[at] = to[d], b.from[at] = from[d];
  }
  Box out;
  int64_t left = kBoxRank;  // dimensions [left, kBoxRank) of `out` are in use
  for (int d = n - 1; d >= 0; --d) {
    const bool merges =
        left < kBoxRank && b.to[d] == out.to[left] * out.shape[left] && b.from[d] == out.from[left] * out.shape[left];
    if (merges) {
      out.shape[left] *= b.shape[d];
    } else {
      --left;
      out.shape[left] = b.shape[d], out.to[left] = b.to[d], out.from[left] = b.from[d];
    }
  }
  return out;
}

}  // namespace opswap::OPSWAP_ISA
