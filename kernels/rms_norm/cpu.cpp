#include "rms_norm.gen.h"

#include <cmath>

#include "common/op.h"
#include "common/stream.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(rms_norm) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t) {
      const E *x = row<E>(a.input, t);
      double squares = 0;
      for (int64_t h = 0; h < a.H; ++h) squares += double(to_float(x[h])) * to_float(x[h]);
      const double scale = 1 / std::sqrt(squares / double(a.H) + a.epsilon);
      for (int64_t h = 0; h < a.H; ++h)
        row<E>(a.out, t)[h] = from_float<E>(float(to_float(x[h]) * scale * to_float(a.weight.as<E>()[h])));
    }
    return OPSWAP_OK;
  });
}

OPSWAP_CPU(rms_norm) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    for_output_rows<E>(a.out, a.T, rows_per_task(a.H), [&](auto *out, int64_t t) {
      const E *x = row<E>(a.input, t);
      const float scale = inverse_rms(sum_of_squares(x, a.H), a.H, a.epsilon);
      scale_by_weight(out, x, a.weight.as<E>(), a.H, scale);
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
