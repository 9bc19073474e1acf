// Attention of one query head in double, key by key: the yardstick of the attention rooms.
#pragma once

#include <cmath>

#include "common/fp8_words.h"
#include "common/paged.h"

namespace opswap::OPSWAP_ISA {

// Calls body(E{}, C{}) with the types of queries and of the cache, which holds the same or codes of 8 bits.
template <class Args, class Body>
inline auto with_cache_type(const Args &a, Body &&body) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E e) {
    return a.cache_dtype == DType::float8_e4m3fn ? body(e, e4m3{}) : body(e, e);
  });
}

// Row t of the query, head h, over keys [range), which are where `slots` says. A row that sees no key gives 0 and -inf,
// or the sink.
template <class E, class C, class Args, class Where>
inline void attend_plain(const Args &a, const Where &slots, int64_t t, int64_t h, KeyRange range) {
  const int64_t kv_head = h / (a.QH / a.KH);
  const E *q = row<E>(a.query, t) + h * a.query.stride[1];
  const double k_scale = scale_of(a.k_scale, kv_head), v_scale = scale_of(a.v_scale, kv_head);
  const auto stored = [&](const Tensor &cache, int64_t p) {
    return cache ? double(*slots.template at<float>(cache, p, kv_head)) : 1.0;
  };
  const auto score = [&](int64_t p) {
    const C *k = slots.template at<C>(a.key_cache, p, kv_head);
    double s = 0;
    for (int64_t d = 0; d < a.D; ++d) s += double(to_float(q[d])) * to_float(k[d]);
    s *= a.softmax_scale * k_scale * stored(a.k_scale_cache, p);
    return a.softcap > 0 ? a.softcap * std::tanh(s / a.softcap) : s;
  };
  const auto value = [&](int64_t p, int64_t v) {
    const C *const key = slots.template at<C>(a.value_cache, p, kv_head);
    if (!has_interleaved_values(a)) return to_float(key[v]);
    const int64_t slot = p % a.BS;
    return to_float(key[v * a.BS + interleaved_place(slot) - slot * a.V]);
  };
  const double sink = a.sinks ? double(a.sinks.template as<float>()[h * a.sinks.stride[0]]) : -INFINITY;
  double largest = sink;
  for (int64_t p = range.first; p < range.last; ++p) largest = std::fmax(largest, score(p));
  const double shift = std::isinf(largest) ? 0 : largest;
  double total = std::exp(sink - shift);
  for (int64_t p = range.first; p < range.last; ++p) total += std::exp(score(p) - shift);
  const double by = total > 0 ? total : 1;
  E *out = row<E>(a.out, t) + h * a.out.stride[1];
  for (int64_t v = 0; v < a.V; ++v) {
    double sum = 0;
    for (int64_t p = range.first; p < range.last; ++p)
      sum += std::exp(score(p) - shift) / by * stored(a.v_scale_cache, p) * value(p, v);
    out[v] = from_float<E>(float(sum * v_scale));
  }
  if (a.lse) row<float>(a.lse, t)[h * a.lse.stride[1]] = float(largest + std::log(total));
}

// The rows of a sequence of `length` keys.
template <class E, class C, class Args>
inline void attend_plain_rows(const Args &a, const Slots &slots, RowRange rows, int64_t length, bool causal) {
  for (int64_t t = rows.begin; t < rows.end; ++t)
    for (int64_t h = 0; h < a.QH; ++h)
      attend_plain<E, C>(a, slots, t, h, visible(length - rows.end + t, length, causal, a.sliding_window));
}

}  // namespace opswap::OPSWAP_ISA
