// rms_norm_quant_fp8 on sm_90a: the RMS norm of each row as FP8 codes with scales. One kernel, whose blocks walk over
// rows.
#include "rms_norm_quant_fp8.gen.h"

#include "common/device/fp8_norm_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P, Scaling kScaling>
__global__ void __launch_bounds__(kFullRowThreads, kRowBlocksPerSm)
    rms_norm_quant_fp8_kernel(const __grid_constant__ Fp8Rows out,  // [rows, length]
                              InputRows<Scalar> input,              // [rows, length]
                              const Scalar *weight,                 // [length]
                              int64_t rows, int length, float epsilon) {
  quantise_normed_rows<kScaling, P>(out, input, weight, rows, length, epsilon);
}

// sass rms_norm_quant_fp8_kernel: LDG.128

OPSWAP_SM90_CAN(rms_norm_quant_fp8) { return row_refusal(a.H); }

OPSWAP_SM90(rms_norm_quant_fp8) {
  return with_scaling<Scalar>(
      a.group_size != 0, a.static_scale, a.H, {&a.out, &a.input, &a.weight}, [&]<class P, Scaling kScaling>() {
        return launch(exec, "rms_norm_quant_fp8_kernel", rms_norm_quant_fp8_kernel<P, kScaling>,
                      fp8_geometry<P, kScaling>(exec, a.T, a.H, sizeof(Scalar)), fp8_rows(a),
                      InputRows<Scalar>{rows_of<const Scalar>(a.input)}, a.weight.as<Scalar>(), a.T, a.H, a.epsilon);
      });
}

}  // namespace opswap::OPSWAP_PASS
