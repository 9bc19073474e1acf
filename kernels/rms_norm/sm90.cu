// rms_norm on sm_90a: RMS norm of each row. One kernel, whose blocks walk over rows.
#include "rms_norm.gen.h"

#include "common/device/norm_rows.h"

namespace opswap::OPSWAP_PASS {

template <class P>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    rms_norm_kernel(Rows<Scalar> out,         // [rows, length]
                    InputRows<Scalar> input,  // [rows, length]
                    const Scalar *weight,     // [length]
                    int64_t rows, int length, float epsilon) {
  store_normed_rows<P>(out, input, weight, rows, length, epsilon);
}

// sass rms_norm_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(rms_norm) { return row_refusal(a.H); }

OPSWAP_SM90(rms_norm) {
  return with_part<Scalar>(a.H, {&a.out, &a.input, &a.weight}, [&]<class P>() {
    return launch(exec, "rms_norm_kernel", rms_norm_kernel<P>, row_geometry<P>(exec, a.T, a.H, sizeof(Scalar)),
                  rows_of<Scalar>(a.out), InputRows<Scalar>{rows_of<const Scalar>(a.input)}, a.weight.as<Scalar>(), a.T,
                  a.H, a.epsilon);
  });
}

}  // namespace opswap::OPSWAP_PASS
