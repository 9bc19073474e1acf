#include "rms_norm_pair.gen.h"

#include <cmath>

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

template <class E>
static void norm_plain(E *out, const E *x, const E *weight, int64_t n, double epsilon) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += double(to_float(x[i])) * to_float(x[i]);
  const double scale = 1 / std::sqrt(squares / double(n) + epsilon);
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<E>(float(to_float(x[i]) * scale * to_float(weight[i])));
}

OPSWAP_REF(rms_norm_pair) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t) {
      norm_plain(row<E>(a.q_out, t), row<E>(a.q, t), a.q_weight.as<E>(), a.Q, a.epsilon);
      norm_plain(row<E>(a.kv_out, t), row<E>(a.kv, t), a.kv_weight.as<E>(), a.KV, a.epsilon);
    }
    return OPSWAP_OK;
  });
}

template <class E>
static void norm(E *out, const E *x, const E *weight, int64_t n, double epsilon) {
  scale_by_weight(out, x, weight, n, inverse_rms(sum_of_squares(x, n), n, epsilon));
}

OPSWAP_CPU(rms_norm_pair) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.Q + a.KV), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        norm(row<E>(a.q_out, t), row<E>(a.q, t), a.q_weight.as<E>(), a.Q, a.epsilon);
        norm(row<E>(a.kv_out, t), row<E>(a.kv, t), a.kv_weight.as<E>(), a.KV, a.epsilon);
      }
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
