// rms_norm_pair on a CPU: the RMS norms of two tensors in one call. Row by row.
#include "rms_norm_pair.gen.h"

#include "common/norm.h"
#include "common/op.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(rms_norm_pair) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t t = 0; t < a.T; ++t) {
      rms_norm_row_plain(row<E>(a.q_out, t), row<E>(a.q, t), a.q_weight.as<E>(), a.Q, a.epsilon);
      rms_norm_row_plain(row<E>(a.kv_out, t), row<E>(a.kv, t), a.kv_weight.as<E>(), a.KV, a.epsilon);
    }
    return OPSWAP_OK;
  });
}

OPSWAP_CPU(rms_norm_pair) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    parallel_for(a.T, rows_per_task(a.Q + a.KV), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        rms_norm_row(row<E>(a.q_out, t), row<E>(a.q, t), a.q_weight.as<E>(), a.Q, a.epsilon);
        rms_norm_row(row<E>(a.kv_out, t), row<E>(a.kv, t), a.kv_weight.as<E>(), a.KV, a.epsilon);
      }
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
