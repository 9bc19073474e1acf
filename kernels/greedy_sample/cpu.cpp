// greedy_sample on a CPU: the index of the largest logit of each row. The search of common/argmax.h.
#include "greedy_sample.gen.h"

#include <cmath>

#include "common/argmax.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(greedy_sample) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t b = 0; b < a.B; ++b) {
      const E *x = row<E>(a.logits, b);
      int64_t best = 0;
      float score = -INFINITY;  // which no NaN is above
      for (int64_t v = 0; v < a.V; ++v)
        if (to_float(x[v]) > score) score = to_float(x[best = v]);
      *row<int64_t>(a.token_ids, b) = best;
    }
    return opswap_status{OPSWAP_OK};
  });
}

OPSWAP_CPU(greedy_sample) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return argmax_rows(a.token_ids, a.B, a.V, [&](int64_t b) {
      const E *x = row<E>(a.logits, b);
      return [x](int64_t v, int64_t left) { return left ? load_tail(x + v, left, -__builtin_inff()) : load(x + v); };
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
