#include "linear.gen.h"

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

OPSWAP_REF(linear) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.weight_dtype, [&]<class W>(W) {
      for (int64_t m = 0; m < a.M; ++m)
        for (int64_t n = 0; n < a.N; ++n) {
          double dot = a.bias ? to_float(a.bias.as<W>()[n]) : 0.0;
          for (int64_t k = 0; k < a.K; ++k) dot += double(to_float(row<E>(a.input, m)[k])) * to_float(row<W>(a.weight, n)[k]);
          row<E>(a.out, m)[n] = from_float<E>(float(dot));
        }
      return opswap_status{OPSWAP_OK};
    });
  });
}

template <class E, class W>
static float dot(const E *x, const W *w, int64_t n) {
  vf total = {};
  for_lanes(
      n, [&](int64_t i) { total += load(x + i) * load(w + i); },
      [&](int64_t i, int64_t left) { total += load_tail(x + i, left) * load_tail(w + i, left); });
  return sum(total);
}

OPSWAP_CPU(linear) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.weight_dtype, [&]<class W>(W) {
      parallel_for(a.N, rows_per_task(a.K * a.M), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n)
          for (int64_t m = 0; m < a.M; ++m) {
            const float bias = a.bias ? to_float(a.bias.as<W>()[n]) : 0.0f;
            row<E>(a.out, m)[n] = from_float<E>(dot(row<E>(a.input, m), row<W>(a.weight, n), a.K) + bias);
          }
      });
      return opswap_status{OPSWAP_OK};
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
