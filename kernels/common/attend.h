// One query head over a range of cached keys, SIMD: scores, softmax, weighted sum of values.
#pragma once

#include "common/paged.h"

namespace opswap::OPSWAP_ISA {

template <class E>
inline float dot(const E *x, const E *y, int64_t n) {
  vf total = {};
  for_lanes(
      n, [&](int64_t i) { total += load(x + i) * load(y + i); },
      [&](int64_t i, int64_t left) { total += load_tail(x + i, left) * load_tail(y + i, left); });
  return sum(total);
}

template <class E, class Args>
inline void attend(const Args &a, const E *q, const int32_t *blocks, int64_t kv_head, KeyRange range, E *out, float *lse,
                   float *scores, float *acc) {
  float largest = -__builtin_inff();
  const int64_t n = range.last - range.first;
  for (int64_t p = 0; p < n; ++p) {
    float s = dot(q, cached<E>(a.key_cache, blocks, a.BS, range.first + p, kv_head), a.D) * float(a.softmax_scale);
    if (a.softcap > 0) s = float(a.softcap) * tanh(splat(s / float(a.softcap)))[0];
    scores[p] = s;
    largest = s > largest ? s : largest;
  }
  float total = 0;
  for (int64_t p = 0; p < n; ++p) {
    scores[p] = exp(splat(scores[p] - largest))[0];
    total += scores[p];
  }
  for (int64_t v = 0; v < a.V; ++v) acc[v] = 0;
  for (int64_t p = 0; p < n; ++p) {
    const E *value = cached<E>(a.value_cache, blocks, a.BS, range.first + p, kv_head);
    for_lanes(
        a.V, [&](int64_t i) { store(acc + i, load(acc + i) + scores[p] * load(value + i)); },
        [&](int64_t i, int64_t left) {
          store_tail(acc + i, load_tail(acc + i, left) + scores[p] * load_tail(value + i, left), left);
        });
  }
  for (int64_t v = 0; v < a.V; ++v) out[v] = from_float<E>(n > 0 ? acc[v] / total : 0.0f);
  if (lse) *lse = n > 0 ? largest + log(splat(total))[0] : -__builtin_inff();
}

}  // namespace opswap::OPSWAP_ISA
