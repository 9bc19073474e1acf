#include "fused_add_rms_norm.gen.h"

#include <cmath>

#include "common/add_square.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(fused_add_rms_norm) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t) {
      E *x = row<E>(a.input, t), *r = row<E>(a.residual, t);
      const double squares = add_and_square_plain(r, x, a.H);
      const double scale = 1 / std::sqrt(squares / double(a.H) + a.epsilon);
      for (int64_t h = 0; h < a.H; ++h)
        x[h] = from_float<E>(float(to_float(r[h]) * scale * to_float(a.weight.as<E>()[h])));
    }
    return OPSWAP_OK;
  });
}

OPSWAP_CPU(fused_add_rms_norm) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.H), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        E *x = row<E>(a.input, t), *r = row<E>(a.residual, t);
        const float scale = inverse_rms(add_and_square(r, x, a.H), a.H, a.epsilon);
        scale_by_weight(x, r, a.weight.as<E>(), a.H, scale);
      }
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
