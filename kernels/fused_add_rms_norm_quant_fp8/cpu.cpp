#include "fused_add_rms_norm_quant_fp8.gen.h"

#include <cmath>

#include "common/add_square.h"
#include "common/quantize_rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(fused_add_rms_norm_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows_plain(a, a.H, [&](float *normed, int64_t t) {
      E *r = row<E>(a.residual, t);
      const double squares = add_and_square_plain(r, row<E>(a.input, t), a.H);
      const double scale = 1 / std::sqrt(squares / double(a.H) + a.epsilon);
      for (int64_t h = 0; h < a.H; ++h) normed[h] = float(to_float(r[h]) * scale * to_float(a.weight.as<E>()[h]));
    });
  });
}

OPSWAP_CPU(fused_add_rms_norm_quant_fp8) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows(a, a.H, [&](float *normed, int64_t t) {
      E *r = row<E>(a.residual, t);
      const float squares = add_and_square(r, row<E>(a.input, t), a.H);
      scale_to_float(normed, r, a.weight.as<E>(), a.H, inverse_rms(squares, a.H, a.epsilon));
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
