// fused_add_rms_norm on a CPU: residual += input, then the RMS norm of the residual, both in place. One pass over each
// row.
#include "fused_add_rms_norm.gen.h"

#include "common/add_square.h"
#include "common/norm.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(fused_add_rms_norm) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t) {
      E *x = row<E>(a.input, t), *r = row<E>(a.residual, t);
      add_plain(r, x, a.H);
      rms_norm_row_plain(x, r, a.weight.as<E>(), a.H, a.epsilon);
    }
    return OPSWAP_OK;
  });
}

OPSWAP_CPU(fused_add_rms_norm) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.H), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        E *x = row<E>(a.input, t), *r = row<E>(a.residual, t);
        const float squares = add_and_square(r, x, a.H);
        rms_norm_row(x, r, a.weight.as<E>(), a.H, squares, a.epsilon);
      }
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
