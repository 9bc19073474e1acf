// RMSNorm of bf16 rows: a block walks over rows with its share of the weight in registers. Two rows of sums in turn, so
// one barrier a row is enough.
#pragma once

#include "common/device/reduce.h"

namespace opswap {

struct NormRowsSums {
  float of_warp[2][device::kWarp];
};

// `columns` is at most 8 for each thread.
__global__ void __launch_bounds__(1024)
    norm_rows_example(bf16 *out, const bf16 *x, const bf16 *weight, int rows, int columns, float epsilon) {
  OPSWAP_SHARED(NormRowsSums, sums);
  const int first = int(threadIdx.x) * 8;
  const bool mine = first < columns;
  const auto gain = to_float(mine ? load<8>(weight + first) : Vec<bf16, 8>{});
  int turn = 0;
  for (int row = blockIdx.x; row < rows; row += gridDim.x, turn ^= 1) {
    auto v = to_float(mine ? load<8>(x + row * columns + first) : Vec<bf16, 8>{});
    float squares = 0;
    for (int k = 0; k < 8; ++k) squares += v[k] * v[k];
    const float scale = rsqrtf(block_reduce(squares, Sum{}, sums.of_warp[turn]) / float(columns) + epsilon);
    for (int k = 0; k < 8; ++k) v[k] *= scale * gain[k];
    if (mine) store(out + row * columns + first, from_float<bf16>(v));
  }
}

}  // namespace opswap
