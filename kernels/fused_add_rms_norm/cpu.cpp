#include "fused_add_rms_norm.gen.h"

#include <cmath>

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(fused_add_rms_norm) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t) {
      E *x = row<E>(a.input, t), *r = row<E>(a.residual, t);
      double squares = 0;
      for (int64_t h = 0; h < a.H; ++h) {
        r[h] = from_float<E>(to_float(x[h]) + to_float(r[h]));
        squares += double(to_float(r[h])) * to_float(r[h]);
      }
      const double scale = 1 / std::sqrt(squares / double(a.H) + a.epsilon);
      for (int64_t h = 0; h < a.H; ++h)
        x[h] = from_float<E>(float(to_float(r[h]) * scale * to_float(a.weight.as<E>()[h])));
    }
    return OPSWAP_OK;
  });
}

// residual += input; returns the sum of squares of the rounded result, while it is in registers.
template <class E>
static float add_and_square(E *residual, const E *input, int64_t n) {
  vf squares = {};
  for_lanes(
      n,
      [&](int64_t i) {
        store(residual + i, load(input + i) + load(residual + i));
        const vf v = load(residual + i);
        squares += v * v;
      },
      [&](int64_t i, int64_t left) {
        store_tail(residual + i, load_tail(input + i, left) + load_tail(residual + i, left), left);
        const vf v = load_tail(residual + i, left);
        squares += v * v;
      });
  return sum(squares);
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
