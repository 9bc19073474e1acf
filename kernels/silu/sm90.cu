// silu on sm_90a: silu, element by element. One kernel over rows.
#include "silu.gen.h"

#include "common/device/activation.h"

namespace opswap::OPSWAP_PASS {

template <class P>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    silu_kernel(Rows<Scalar> out,          // [rows, length]
                Rows<const Scalar> input,  // [rows, length]
                int64_t rows, int length) {
  activate_rows<P>(out, input, rows, length, Silu{});
}

// sass silu_kernel: LDG=128 STG=128

OPSWAP_SM90_CAN(silu) { return row_refusal(a.I); }

OPSWAP_SM90(silu) {
  return with_part<Scalar>(a.I, {&a.out, &a.input}, [&]<class P>() {
    return launch(exec, "silu_kernel", silu_kernel<P>, tile_geometry<P>(exec, a.T, a.I, 1), rows_of<Scalar>(a.out),
                  rows_of<const Scalar>(a.input), a.T, a.I);
  });
}

}  // namespace opswap::OPSWAP_PASS
