// interleave_values on a CPU: 16 keys of a feature at a time, which are 16 neighbouring bytes of an interleaved page.
#include "interleave_values.gen.h"

#include "common/interleave.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_CHECK(interleave_values) {
  const Tensor &pages = a.inverse ? a.input : a.out;
  if (a.NB && a.KH && a.V && pages.stride[2] != a.V)
    return fail(OPSWAP_E_STRIDE, "interleave_values: stride of %s is %lld along dimension 2, needs %lld (V)",
                a.inverse ? "input" : "out", (long long)pages.stride[2], (long long)a.V);
  return OPSWAP_OK;
}

// Page and head number `page` of all.
static void interleave_page(const interleave_values_args &a, int64_t page) {
  const int64_t n = page / a.KH, h = page % a.KH;
  const auto at = [&](const Tensor &t) { return t.as<uint8_t>() + n * t.stride[0] + h * t.stride[1]; };
  uint8_t *out = at(a.out);
  const uint8_t *input = at(a.input);
  for (int64_t slot = 0; slot < a.BS; ++slot) {
    const int64_t place = interleaved_place(slot);
    if (a.inverse)
      for (int64_t v = 0; v < a.V; ++v) out[slot * a.out.stride[2] + v] = input[v * a.BS + place];
    else
      for (int64_t v = 0; v < a.V; ++v) out[v * a.BS + place] = input[slot * a.input.stride[2] + v];
  }
}

OPSWAP_REF(interleave_values) {
  for (int64_t page = 0; page < a.NB * a.KH; ++page) interleave_page(a, page);
  return OPSWAP_OK;
}

OPSWAP_CPU(interleave_values) {
  parallel_for(a.NB * a.KH, rows_per_task(a.BS * a.V), [&](int64_t begin, int64_t end) {
    for (int64_t page = begin; page < end; ++page) interleave_page(a, page);
  });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
