#include "rms_norm_quant_fp8.gen.h"

#include <cmath>

#include "common/quantize_rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(rms_norm_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows_plain(a, a.H, [&](float *normed, int64_t t) {
      const E *x = row<E>(a.input, t);
      double squares = 0;
      for (int64_t h = 0; h < a.H; ++h) squares += double(to_float(x[h])) * to_float(x[h]);
      const double scale = 1 / std::sqrt(squares / double(a.H) + a.epsilon);
      for (int64_t h = 0; h < a.H; ++h) normed[h] = float(to_float(x[h]) * scale * to_float(a.weight.as<E>()[h]));
    });
  });
}

OPSWAP_CPU(rms_norm_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows(a, a.H, [&](float *normed, int64_t t) {
      const E *x = row<E>(a.input, t);
      scale_to_float(normed, x, a.weight.as<E>(), a.H, inverse_rms(sum_of_squares(x, a.H), a.H, a.epsilon));
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
