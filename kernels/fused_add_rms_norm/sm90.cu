#include "fused_add_rms_norm.gen.h"

#include "common/device/add_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P>
__global__ void __launch_bounds__(kRowThreads, 1)
    fused_add_rms_norm_kernel(Rows<Scalar> input, Rows<Scalar> residual, const Scalar *weight, int64_t rows, int length,
                              float epsilon) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  const PerFeature<P, Scalar> gain(part, weight, 1, features_memory<P, Scalar>());
  dependency_wait();
  dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const auto x = add_row(part, residual[t], input[t]);
    const auto sum = [&](int h) { return part.load(residual[t], h); };
    const float scale = inverse_rms(part, x, sum, epsilon, reduce);
    part.each(x, sum, [&](int h, int k, const typename P::Floats &v) {
      part.store(input[t], h, from_float<Scalar>(scaled(v, scale, gain(h, k))));
    });
  }
}

// sass fused_add_rms_norm_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(fused_add_rms_norm) { return row_refusal(a.H); }

OPSWAP_SM90(fused_add_rms_norm) {
  return with_part<Scalar>(a.H, {&a.input, &a.residual, &a.weight}, [&]<class P>() {
    return launch(exec, "fused_add_rms_norm_kernel", fused_add_rms_norm_kernel<P>,
                  row_geometry<P>(exec, a.T, a.H, sizeof(Scalar)), rows_of<Scalar>(a.input),
                  rows_of<Scalar>(a.residual), a.weight.as<Scalar>(), a.T, a.H, a.epsilon);
  });
}

}  // namespace opswap::OPSWAP_PASS
