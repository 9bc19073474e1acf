// Quantises rows: a block takes rows in turn, with a scale per group of columns or one that is given.
#pragma once

#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kRowThreads, 1)
    quantize_rows_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                         Rows<const Scalar> input,             // [rows, length]
                         int64_t rows, int length) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  dependency_wait();
  dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    quantise_row<kScaling>(out, t, part, part.hold(row), row, reduce);
  }
}

}  // namespace opswap::OPSWAP_PASS
