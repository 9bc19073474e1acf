// What a pass computes. Compiled once per instruction set, and bit-equal on all of them, statistics included: sums run
// over 16 lanes in one order, and nothing is contracted to a fused multiply-add.
#include "convert/decode.h"
#include "convert/encode_fp8.h"
#include "convert/encode_int4.h"

namespace opswap::convert::OPSWAP_ISA {
namespace {

void quantize(const Tile &tile, const Scheme &scheme, const Output &out, Stats &stats, Nonfinites &found) {
  typed(tile, [&](auto *in) {
    if (scheme.is_int4())
      quantize_int4(tile, scheme, out, in, stats, found);
    else
      quantize_fp8(tile, scheme, out, in, stats, found);
  });
}

float amax(const Tile &tile, Nonfinites &found) {
  bool inspected = false;
  const Block all{tile.rows, tile.columns, tile.columns};
  return typed(tile, [&](auto *in) { return amax_of(tile, in, all, inspected, found); });
}

}  // namespace

extern const Pass kPass;
const Pass kPass = {OPSWAP_ISA_NAME, quantize, inspect, amax, decode, unpack, round_bf16};

}  // namespace opswap::convert::OPSWAP_ISA
