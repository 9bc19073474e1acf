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

bool finds_one_scale(const quantize_fp8_args &a) { return a.group_rows == 0 && !a.static_scale; }

OPSWAP_SM90_WORKSPACE(quantize_fp8) { return finds_one_scale(a) ? kTensorWorkspace : 0; }

OPSWAP_SM90(quantize_fp8) {
  if (a.group_rows == kTile) return quantize_tiles(a, exec);
  if (finds_one_scale(a)) return quantize_tensor(a, exec);
  const bool given = a.static_scale, groups = a.group_columns != 0;
  return with_scaling<Scalar>(groups, given, a.H, {&a.out, &a.input}, [&]<class P, Scaling kScaling>() {
    return launch(exec, "quantize_rows_kernel", quantize_rows_kernel<P, kScaling>,
                  fp8_geometry<P, kScaling, kRowThreads>(exec, a.T, a.H), fp8_rows(a, float(a.floor)),
                  rows_of<const Scalar>(a.input), a.T, a.H);
  });
}

}  // namespace opswap::OPSWAP_PASS
