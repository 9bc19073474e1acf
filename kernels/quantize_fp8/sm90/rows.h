// Quantises rows: a block takes rows in turn, with a scale per group of columns or one that is given.
#pragma once

#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    quantize_rows_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                         Rows<const Scalar> input,             // [rows, length]
                         int64_t rows, int length) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  dependency_wait();
  dependency_trigger();
  each_row<P>(rows, length, [&](int64_t t, const P &part) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    auto x = part.hold(row);
    quantise_row<kScaling>(out, t, part, x, row, reduce);
  });
}

}  // namespace opswap::OPSWAP_PASS
