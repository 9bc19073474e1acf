// gelu on sm_90a: gelu by the error function or its tanh approximation. One kernel for each of the two forms.
#include "gelu.gen.h"

#include "common/device/activation.h"

namespace opswap::OPSWAP_PASS {

template <class P>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    gelu_kernel(Rows<Scalar> out,          // [rows, length]
                Rows<const Scalar> input,  // [rows, length]
                int64_t rows, int length) {
  activate_rows<P>(out, input, rows, length, Gelu{});
}

template <class P>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    gelu_tanh_kernel(Rows<Scalar> out,          // [rows, length]
                     Rows<const Scalar> input,  // [rows, length]
                     int64_t rows, int length) {
  activate_rows<P>(out, input, rows, length, GeluTanh{});
}

// sass gelu_kernel: LDG=128 STG=128
// sass gelu_tanh_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(gelu) { return row_refusal(a.I); }

OPSWAP_SM90(gelu) {
  return with_part<Scalar>(a.I, {&a.out, &a.input}, [&]<class P>() {
    return launch(exec, a.tanh ? "gelu_tanh_kernel" : "gelu_kernel", a.tanh ? gelu_tanh_kernel<P> : gelu_kernel<P>,
                  tile_geometry<P>(exec, a.T, a.I, 1), rows_of<Scalar>(a.out), rows_of<const Scalar>(a.input), a.T,
                  a.I);
  });
}

}  // namespace opswap::OPSWAP_PASS
