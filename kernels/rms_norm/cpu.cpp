// rms_norm on a CPU: RMS norm of each row. Row by row.
#include "rms_norm.gen.h"

#include "common/norm.h"
#include "common/op.h"
#include "common/stream.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(rms_norm) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t)
      rms_norm_row_plain(row<E>(a.out, t), row<E>(a.input, t), a.weight.as<E>(), a.H, a.epsilon);
    return OPSWAP_OK;
  });
}

OPSWAP_CPU(rms_norm) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    for_output_rows<E>(a.out, a.T, rows_per_task(a.H), [&](auto *out, int64_t t) {
      rms_norm_row(out, row<E>(a.input, t), a.weight.as<E>(), a.H, a.epsilon);
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
