#include "fused_add_rms_norm_quant_fp8.gen.h"

#include "common/device/add_rows.h"
#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kRowThreads, 1)
    fused_add_rms_norm_quant_fp8_kernel(const __grid_constant__ Fp8Rows out, Rows<const Scalar> input,
                                        Rows<Scalar> residual, const Scalar *weight, int64_t rows, int length,
                                        float epsilon) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  const PerFeature<P, Scalar> gain(part, weight, 1, features_memory<P, Scalar>());
  dependency_wait();
  dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    auto x = add_row(part, residual[t], input[t]);
    const auto sum = [&](int h) { return part.load(residual[t], h); };
    const float scale = inverse_rms(part, x, sum, epsilon, reduce);
    part.held([&](int h, int k) { x.at[k] = scaled(x.at[k], scale, gain(h, k)); });
    const auto normed = [&](int h) { return scaled(to_float(sum(h)), scale, gain(h, P::kHeld)); };
    quantise_row<kScaling>(out, t, part, x, normed, reduce);
  }
}

// sass fused_add_rms_norm_quant_fp8_kernel: LDG.128

OPSWAP_SM90_CAN(fused_add_rms_norm_quant_fp8) { return row_refusal(a.H); }

OPSWAP_SM90(fused_add_rms_norm_quant_fp8) {
  return with_scaling<Scalar>(
      a.group_size != 0, a.static_scale, a.H, {&a.out, &a.input, &a.residual, &a.weight},
      [&]<class P, Scaling kScaling>() {
        return launch(exec, "fused_add_rms_norm_quant_fp8_kernel", fused_add_rms_norm_quant_fp8_kernel<P, kScaling>,
                      row_geometry<P>(exec, a.T, a.H, sizeof(Scalar)), fp8_rows(a), rows_of<const Scalar>(a.input),
                      rows_of<Scalar>(a.residual), a.weight.as<Scalar>(), a.T, a.H, a.epsilon);
      });
}

}  // namespace opswap::OPSWAP_PASS
