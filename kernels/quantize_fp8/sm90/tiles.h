// Quantises with a scale per tile of 128 x 128: a block takes a tile and holds it in registers.
#pragma once

#include "common/device/fp8_rows.h"
#include "common/device/layout.h"

namespace opswap::OPSWAP_PASS {

constexpr int kTile = 128, kTileThreads = 512;

// A block takes a tile of 128 x 128, which its registers hold.
template <class P>
__global__ void __launch_bounds__(kTileThreads)
    quantize_tiles_kernel(const __grid_constant__ Fp8Rows out,  // [rows, columns]
                          Rows<const Scalar> input,             // [rows, columns]
                          int64_t rows, int64_t columns) {
  using Held = RowTile<kTile, kTile, kTileThreads, P::N>;
  constexpr int kEach = Held::kValues / P::N;
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const int64_t first = int64_t(blockIdx.y) * kTile, begin = int64_t(blockIdx.x) * kTile;
  const P part(int(columns - begin < kTile ? columns - begin : kTile));
  const int h = Held::column(threadIdx.x, 0), down = Held::row(threadIdx.x, 0);
  dependency_wait();
  dependency_trigger();
  Vec<Scalar, P::N> x[kEach];
  float most = 0;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t t = first + Held::row(0, k * P::N) + down;
    x[k] = P(t < rows ? part.length : 0).load(input[t] + begin, h);
  }
#pragma unroll
  for (int k = 0; k < kEach; ++k) most = amax(most, to_float(x[k]));
  const float scale = scale_of(reduce(most, Max{}), out.floor);
  if (threadIdx.x == 0)
    store(out.scale + blockIdx.y * out.scale_row + blockIdx.x * out.scale_column, Vec<float, 1>{scale});
  const Divisor by(scale);
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t t = first + Held::row(0, k * P::N) + down;
    if (t < rows) part.store(out.out[t] + begin, h, codes_of(to_float(x[k]), by));
  }
}

}  // namespace opswap::OPSWAP_PASS
