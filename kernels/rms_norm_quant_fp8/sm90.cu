#include "rms_norm_quant_fp8.gen.h"

#include "common/device/fp8_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kRowThreads, 1)
    rms_norm_quant_fp8_kernel(const __grid_constant__ Fp8Rows out, Rows<const Scalar> input, const Scalar *weight,
                              int64_t rows, int length, float epsilon) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  const PerFeature<P, Scalar> gain(part, weight, 1, features_memory<P, Scalar>());
  dependency_wait();
  dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const auto row = [&](int h) { return part.load(input[t], h); };
    auto x = part.hold(row);
    const float scale = inverse_rms(part, x, row, epsilon, reduce);
    part.held([&](int h, int k) { x.at[k] = scaled(x.at[k], scale, gain(h, k)); });
    const auto normed = [&](int h) { return scaled(to_float(row(h)), scale, gain(h, P::kHeld)); };
    quantise_row<kScaling>(out, t, part, x, normed, reduce);
  }
}

// sass rms_norm_quant_fp8_kernel: LDG.128

OPSWAP_SM90_CAN(rms_norm_quant_fp8) { return row_refusal(a.H); }

OPSWAP_SM90(rms_norm_quant_fp8) {
  return with_scaling<Scalar>(
      a.group_size != 0, a.static_scale, a.H, {&a.out, &a.input, &a.weight}, [&]<class P, Scaling kScaling>() {
        return launch(exec, "rms_norm_quant_fp8_kernel", rms_norm_quant_fp8_kernel<P, kScaling>,
                      row_geometry<P>(exec, a.T, a.H, sizeof(Scalar)), fp8_rows(a), rows_of<const Scalar>(a.input),
                      a.weight.as<Scalar>(), a.T, a.H, a.epsilon);
      });
}

}  // namespace opswap::OPSWAP_PASS
