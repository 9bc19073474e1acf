// gelu_tanh_and_mul on sm_90a: gelu(gate) * up, with the tanh approximation. One kernel over rows [gate | up].
#include "gelu_tanh_and_mul.gen.h"

#include "common/device/activation.h"

namespace opswap::OPSWAP_PASS {

template <class P>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    gelu_tanh_and_mul_kernel(Rows<Scalar> out,          // [rows, length]
                             Rows<const Scalar> input,  // [rows, 2 * length], gate then up
                             int64_t rows, int length) {
  activate_gated_rows<P>(out, input, rows, length, GeluTanh{});
}

// sass gelu_tanh_and_mul_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(gelu_tanh_and_mul) { return row_refusal(a.I); }

OPSWAP_SM90(gelu_tanh_and_mul) {
  return with_part<Scalar>(a.I, {&a.out, &a.input}, [&]<class P>() {
    return launch(exec, "gelu_tanh_and_mul_kernel", gelu_tanh_and_mul_kernel<P>, tile_geometry<P>(exec, a.T, a.I, 2),
                  rows_of<Scalar>(a.out), rows_of<const Scalar>(a.input), a.T, a.I);
  });
}

}  // namespace opswap::OPSWAP_PASS
