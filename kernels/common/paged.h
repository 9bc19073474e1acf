// What the attention rooms share: reading a paged cache, the keys that a query sees, checks of page ids.
#pragma once

#include <cmath>

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Cached vector of token `position` for one KV head: base + block * stride[0] + head * stride[1] + slot * stride[2].
template <class E>
inline const E *cached(const Tensor &cache, const int32_t *blocks, int64_t block_size, int64_t position, int64_t head) {
  return cache.as<E>() + blocks[position / block_size] * cache.stride[0] + head * cache.stride[1] +
         position % block_size * cache.stride[2];
}

// Keys [first, last) that a query sees whose own position is `position` in a sequence of `seq_len` cached tokens.
struct KeyRange {
  int64_t first, last;
};
inline KeyRange visible(int64_t position, int64_t seq_len, bool causal, int64_t sliding_window) {
  const int64_t last = causal ? position + 1 : seq_len;
  const int64_t first = sliding_window > 0 ? position + 1 - sliding_window : 0;
  return {first > 0 ? first : 0, last < seq_len ? last : seq_len};
}

// Every block that sequence b reads lies in the cache, and its length fits its row of the table.
template <class Args>
inline opswap_status check_sequence(const Args &a, const char *op, int64_t b) {
  const int64_t length = index_at(a.seq_lens, b);
  if (length < 0 || length > a.MB * a.BS)
    return fail(OPSWAP_E_VALUE, "%s: seq_lens[%lld] is %lld, needs 0 to %lld (MB * BS)", op, (long long)b,
                (long long)length, (long long)(a.MB * a.BS));
  for (int64_t i = 0; i * a.BS < length; ++i) {
    const int32_t block = row<int32_t>(a.block_table, b)[i];
    if (block < 0 || block >= a.NB)
      return fail(OPSWAP_E_VALUE, "%s: block_table[%lld][%lld] is %d, needs 0 to %lld (NB - 1)", op, (long long)b,
                  (long long)i, block, (long long)(a.NB - 1));
  }
  return OPSWAP_OK;
}

// The same, plus the query rows of each sequence for the ops with query_start_loc.
template <class Args>
inline opswap_status check_batch(const Args &a, const char *op) {
  for (int64_t b = 0; b < a.B; ++b) {
    if (opswap_status e = check_sequence(a, op, b)) return e;
    const int64_t begin = index_at(a.query_start_loc, b), end = index_at(a.query_start_loc, b + 1);
    if (begin < 0 || end < begin || end > a.T)
      return fail(OPSWAP_E_VALUE, "%s: query_start_loc[%lld..%lld] is %lld, %lld, needs to rise within 0 to T = %lld",
                  op, (long long)b, (long long)b + 1, (long long)begin, (long long)end, (long long)a.T);
    if (end - begin > index_at(a.seq_lens, b))
      return fail(OPSWAP_E_VALUE, "%s: sequence %lld has %lld query rows, but seq_lens[%lld] is %lld", op, (long long)b,
                  (long long)(end - begin), (long long)b, (long long)index_at(a.seq_lens, b));
  }
  return OPSWAP_OK;
}

// One query head over keys [range) in double: the yardstick. Writes V outputs and the log-sum-exp; a row that sees no
// key gives 0 and -inf.
template <class E, class Args>
inline void attend_plain(const Args &a, const E *q, const int32_t *blocks, int64_t kv_head, KeyRange range, E *out,
                         float *lse) {
  double largest = -INFINITY, total = 0;
  const auto score = [&](int64_t p) {
    const E *k = cached<E>(a.key_cache, blocks, a.BS, p, kv_head);
    double s = 0;
    for (int64_t d = 0; d < a.D; ++d) s += double(to_float(q[d])) * to_float(k[d]);
    s *= a.softmax_scale;
    return a.softcap > 0 ? a.softcap * std::tanh(s / a.softcap) : s;
  };
  for (int64_t p = range.first; p < range.last; ++p) largest = std::fmax(largest, score(p));
  const double shift = std::isinf(largest) ? 0 : largest;
  for (int64_t p = range.first; p < range.last; ++p) total += std::exp(score(p) - shift);
  const double by = total > 0 ? total : 1;
  for (int64_t v = 0; v < a.V; ++v) {
    double sum = 0;
    for (int64_t p = range.first; p < range.last; ++p)
      sum += std::exp(score(p) - shift) / by * to_float(cached<E>(a.value_cache, blocks, a.BS, p, kv_head)[v]);
    out[v] = from_float<E>(float(sum));
  }
  if (lse) *lse = float(largest + std::log(total));
}

}  // namespace opswap::OPSWAP_ISA
