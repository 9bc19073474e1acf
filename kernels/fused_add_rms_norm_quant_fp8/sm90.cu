// fused_add_rms_norm_quant_fp8 on sm_90a: residual += input in place, then the RMS norm of the residual as FP8 codes
// with scales. One kernel, whose blocks walk over rows.
#include "fused_add_rms_norm_quant_fp8.gen.h"

#include "common/device/fp8_norm_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kFullRowThreads, kRowBlocksPerSm)
    fused_add_rms_norm_quant_fp8_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                                        AddedRows<Scalar> sum,                // [rows, length]
                                        const Scalar *weight,                 // [length]
                                        int64_t rows, int length, float epsilon) {
  quantise_normed_rows<kScaling, P>(out, sum, weight, rows, length, epsilon);
}

// sass fused_add_rms_norm_quant_fp8_kernel: LDG.128

OPSWAP_SM90_CAN(fused_add_rms_norm_quant_fp8) { return row_refusal(a.H); }

OPSWAP_SM90(fused_add_rms_norm_quant_fp8) {
  return with_scaling<Scalar>(
      a.group_size != 0, a.static_scale, a.H, {&a.out, &a.input, &a.residual, &a.weight},
      [&]<class P, Scaling kScaling>() {
        const AddedRows<Scalar> sum{rows_of<Scalar>(a.residual), rows_of<const Scalar>(a.input)};
        return launch(exec, "fused_add_rms_norm_quant_fp8_kernel", fused_add_rms_norm_quant_fp8_kernel<P, kScaling>,
                      fp8_geometry<P, kScaling>(exec, a.T, a.H, sizeof(Scalar)), fp8_rows(a), sum,
                      a.weight.as<Scalar>(), a.T, a.H, a.epsilon);
      });
}

}  // namespace opswap::OPSWAP_PASS
