// fused_add_rms_norm on sm_90a: residual += input, then the RMS norm of the residual, both in place. One kernel, whose
// blocks walk over rows.
#include "fused_add_rms_norm.gen.h"

#include "common/device/norm_rows.h"

namespace opswap::OPSWAP_PASS {

// A thread writes of `out`, the input's memory, only what it read of the input before.
template <class P>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    fused_add_rms_norm_kernel(Rows<Scalar> out,       // [rows, length]
                              AddedRows<Scalar> sum,  // [rows, length]
                              const Scalar *weight,   // [length]
                              int64_t rows, int length, float epsilon) {
  store_normed_rows<P>(out, sum, weight, rows, length, epsilon);
}

// sass fused_add_rms_norm_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(fused_add_rms_norm) { return row_refusal(a.H); }

OPSWAP_SM90(fused_add_rms_norm) {
  return with_part<Scalar>(a.H, {&a.input, &a.residual, &a.weight}, [&]<class P>() {
    const AddedRows<Scalar> sum{rows_of<Scalar>(a.residual), rows_of<const Scalar>(a.input)};
    return launch(exec, "fused_add_rms_norm_kernel", fused_add_rms_norm_kernel<P>,
                  row_geometry<P>(exec, a.T, a.H, sizeof(Scalar)), rows_of<Scalar>(a.input), sum, a.weight.as<Scalar>(),
                  a.T, a.H, a.epsilon);
  });
}

}  // namespace opswap::OPSWAP_PASS
