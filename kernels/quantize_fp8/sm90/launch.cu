// Chooses the kernels of a call of quantize_fp8 by the shape of its groups, and launches them.
#include "quantize_fp8.gen.h"

#include "rows.h"
#include "tensor.h"
#include "tiles.h"

namespace opswap::OPSWAP_PASS {

opswap_status quantize_tiles(const quantize_fp8_args &a, const opswap_exec &exec) {
  return with_part<Scalar>(a.H, {&a.out, &a.input}, [&]<class P>() {
    const Geometry geometry{
        .grid = {ceil_div<int64_t>(a.H, kTile), ceil_div<int64_t>(a.T, kTile)}, .block = {kTileThreads}, .pdl = true};
    return launch(exec, "quantize_tiles_kernel", quantize_tiles_kernel<P>, geometry, fp8_rows(a, float(a.floor)),
                  rows_of<const Scalar>(a.input), a.T, a.H);
  });
}

// sass quantize_rows_kernel: LDG.128
// sass quantize_tiles_kernel: LDG.128

OPSWAP_SM90_CAN(quantize_fp8) {
  if (a.group_rows == kTile && a.T > int64_t{65535} * kTile) return "it takes at most 65535 tiles of 128 rows";
  return row_refusal(a.H);
}

OPSWAP_SM90(quantize_fp8) {
  if (a.group_rows == kTile) return quantize_tiles(a, exec);
  const bool whole = a.group_rows == 0;
  if (whole && !a.static_scale)
    if (opswap_status e = scale_of_tensor(a, exec)) return e;
  return with_scaling<Scalar>(a.group_columns != 0, whole, a.H, {&a.out, &a.input}, [&]<class P, Scaling kScaling>() {
    return launch(exec, "quantize_rows_kernel", quantize_rows_kernel<P, kScaling>, row_geometry<P>(exec, a.T, a.H),
                  fp8_rows(a, float(a.floor)), rows_of<const Scalar>(a.input), a.T, a.H);
  });
}

}  // namespace opswap::OPSWAP_PASS
