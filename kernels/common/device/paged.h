// Slots of a paged cache, and heads that a few lanes hold on their way there.
#pragma once

#include "common/device/access.h"
#include "common/device/reduce.h"

namespace opswap::device {

// A slot of the cache. Slots are fewer than memory has bytes, so that a double holds each.
struct Cell {
  int64_t block, offset;

  OPSWAP_DEVICE Cell(int64_t slot, int64_t block_size, double per_block) {
    block = int64_t(double(slot) * per_block);  // or the block beside it
    offset = slot - block * block_size;
    if (offset < 0) --block, offset += block_size;
    if (offset >= block_size) ++block, offset -= block_size;
  }
};

// 1 / block_size, for Cell.
inline double per_block_of(int64_t block_size) { return 1.0 / double(std::max<int64_t>(block_size, 1)); }

// How [NB, KH, BS, features] lies, in elements.
struct CellStrides {
  int64_t block, head, slot;
  OPSWAP_DEVICE int64_t at(const Cell &cell, int64_t h) const {
    return cell.block * block + h * head + cell.offset * slot;
  }
};
inline CellStrides cell_strides(const Tensor &t) { return {t.stride[0], t.stride[1], t.stride[2]}; }

// A lane's part of a head as it was read: `Runs` times N features, where neighbouring lanes have neighbouring runs.
// Nothing is taken apart until it is used, so that no load waits for another one.
template <class T, int N, int Runs>
struct HeldHead {
  using Word = typename WordOf<int(N * sizeof(T))>::type;
  Word word[Runs];

  OPSWAP_DEVICE static int at(int r) { return (r * int(blockDim.x) + int(threadIdx.x)) * N; }
  // Features that blockDim.x lanes hold.
  OPSWAP_DEVICE static int span() { return Runs * int(blockDim.x) * N; }

  OPSWAP_DEVICE void ask(const T *head, int features) {
#pragma unroll
    for (int r = 0; r < Runs; ++r)
      word[r] = sm90::global_load_if(at(r) < features, reinterpret_cast<const Word *>(head + at(r)), 0);
  }
  OPSWAP_DEVICE Vec<T, N> run(int r) const {
    Vec<T, N> x;
    memcpy(&x, &word[r], sizeof x);
    return x;
  }
  // The largest magnitude of these features; NaN wins.
  OPSWAP_DEVICE float largest() const {
    float most = 0;
#pragma unroll
    for (int r = 0; r < Runs; ++r) {
      const Vec<float, N> x = to_float(run(r));
#pragma unroll
      for (int i = 0; i < N; ++i) most = Max{}(most, fabsf(x[i]));
    }
    return most;
  }
  // body(offset, features as they were read).
  template <class Body>
  OPSWAP_DEVICE void each(int features, Body &&body) const {
#pragma unroll
    for (int r = 0; r < Runs; ++r)
      if (at(r) < features) body(at(r), run(r));
  }
};

}  // namespace opswap::device
