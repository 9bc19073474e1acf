// silu_and_mul_quant_fp8 on a CPU: silu(gate) * up as FP8 codes with scales. A row is computed in float32 and
// quantised.
#include "silu_and_mul_quant_fp8.gen.h"

#include <cmath>

#include "common/quantize_rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(silu_and_mul_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows_plain(a, a.I, [&](float *activated, int64_t t) {
      const E *gate = row<E>(a.input, t), *up = gate + a.I;
      for (int64_t i = 0; i < a.I; ++i) {
        const double x = to_float(gate[i]);
        activated[i] = float(x / (1 + std::exp(-x)) * to_float(up[i]));
      }
    });
  });
}

OPSWAP_CPU(silu_and_mul_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows(a, a.I, [&](float *activated, int64_t t) {
      const E *gate = row<E>(a.input, t), *up = gate + a.I;
      const auto silu = [](vf x) { return x * sigmoid(x); };
      for_lanes(
          a.I, [&](int64_t i) { store(activated + i, silu(load(gate + i)) * load(up + i)); },
          [&](int64_t i, int64_t left) {
            store_tail(activated + i, silu(load_tail(gate + i, left)) * load_tail(up + i, left), left);
          });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
