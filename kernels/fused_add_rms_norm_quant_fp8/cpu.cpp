// fused_add_rms_norm_quant_fp8 on a CPU: residual += input in place, then the RMS norm of the residual as FP8 codes
// with scales. A row is normed in float32 and quantised.
#include "fused_add_rms_norm_quant_fp8.gen.h"

#include "common/add_square.h"
#include "common/norm.h"
#include "common/quantize_rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(fused_add_rms_norm_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows_plain(a, a.H, [&](float *normed, int64_t t) {
      E *r = row<E>(a.residual, t);
      add_plain(r, row<E>(a.input, t), a.H);
      rms_norm_row_plain(normed, r, a.weight.as<E>(), a.H, a.epsilon);
    });
  });
}

OPSWAP_CPU(fused_add_rms_norm_quant_fp8) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows(a, a.H, [&](float *normed, int64_t t) {
      E *r = row<E>(a.residual, t);
      const float squares = add_and_square(r, row<E>(a.input, t), a.H);
      rms_norm_row(normed, r, a.weight.as<E>(), a.H, squares, a.epsilon);
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
