// silu_and_mul_quant_fp8 on sm_90a: silu(gate) * up as FP8 codes with scales. One kernel over rows [gate | up].
#include "silu_and_mul_quant_fp8.gen.h"

#include "common/device/activation.h"
#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kFullRowThreads, kRowBlocksPerSm)
    silu_and_mul_quant_fp8_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                                  Rows<const Scalar> input,             // [rows, 2 * length], gate then up
                                  int64_t rows, int length) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  dependency_wait();
  dependency_trigger();
  each_row<P>(rows, length, [&](int64_t t, const P &part) {
    const auto row = [&](int h) { return gated(part, input[t], h, Silu{}); };
    auto x = part.hold(row);
    quantise_row<kScaling>(out, t, part, x, row, reduce);
  });
}

// sass silu_and_mul_quant_fp8_kernel: LDG.128

OPSWAP_SM90_CAN(silu_and_mul_quant_fp8) { return row_refusal(a.I); }

OPSWAP_SM90(silu_and_mul_quant_fp8) {
  return with_scaling<Scalar>(
      a.group_size != 0, a.static_scale, a.I, {&a.out, &a.input}, [&]<class P, Scaling kScaling>() {
        return launch(exec, "silu_and_mul_quant_fp8_kernel", silu_and_mul_quant_fp8_kernel<P, kScaling>,
                      fp8_geometry<P, kScaling>(exec, a.T, a.I), fp8_rows(a), rows_of<const Scalar>(a.input), a.T, a.I);
      });
}

}  // namespace opswap::OPSWAP_PASS
