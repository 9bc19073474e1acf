// rms_norm_quant_fp8 on a CPU: the RMS norm of each row as FP8 codes with scales. A row is normed in float32 and
// quantised.
#include "rms_norm_quant_fp8.gen.h"

#include "common/norm.h"
#include "common/quantize_rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(rms_norm_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows_plain(a, a.H, [&](float *normed, int64_t t) {
      rms_norm_row_plain(normed, row<E>(a.input, t), a.weight.as<E>(), a.H, a.epsilon);
    });
  });
}

OPSWAP_CPU(rms_norm_quant_fp8) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return quantized_rows(a, a.H, [&](float *normed, int64_t t) {
      rms_norm_row(normed, row<E>(a.input, t), a.weight.as<E>(), a.H, a.epsilon);
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
