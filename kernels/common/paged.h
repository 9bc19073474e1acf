// What the attention rooms share: where keys lie in a cache, which of them a query sees, checks of arguments.
#pragma once

#include "common/attention_plans.h"
#include "common/interleave.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Where the keys of one sequence lie: in the blocks of its row of the table or, without one, one after the other from
// slot `start` of the cache on.
struct Slots {
  const int32_t *blocks;
  int64_t start, block_size;

  int64_t block(int64_t position) const {
    return blocks ? blocks[position / block_size] : (start + position) / block_size;
  }
  int64_t slot(int64_t position) const { return (start + position) % block_size; }
  template <class E>
  const E *at(const Tensor &cache, int64_t position, int64_t head) const {
    return cache.as<E>() + block(position) * cache.stride[0] + head * cache.stride[1] +
           slot(position) * cache.stride[2];
  }
};

template <class Args>
inline Slots slots_of(const Args &a, int64_t b) {
  if constexpr (requires { a.key_start_loc; })
    if (a.key_start_loc) return {nullptr, index_at(a.key_start_loc, b), a.BS};
  return {row<int32_t>(a.block_table, b), 0, a.BS};
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

// Query rows [begin, end) of a sequence, the newest of its tokens.
struct RowRange {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};
template <class Args>
inline RowRange rows_of(const Args &a, int64_t b) {
  return {index_at(a.query_start_loc, b), index_at(a.query_start_loc, b + 1)};
}

// Whether pages of values are interleaved (common/interleave.h), and what is wrong with them then.
template <class Args>
inline bool has_interleaved_values(const Args &a) {
  if constexpr (requires { a.interleaved_values; })
    return a.interleaved_values;
  else
    return false;
}
template <class Args>
inline opswap_status check_interleaved(const Args &a, const char *op) {
  if (a.cache_dtype != DType::float8_e4m3fn)
    return fail(OPSWAP_E_DTYPE, "%s: value_cache is %s, needs float8_e4m3fn with interleaved_values", op,
                dtype_name(a.cache_dtype));
  if (!a.block_table)
    return fail(OPSWAP_E_ARGUMENT, "%s: interleaved_values came with key_start_loc, needs block_table", op);
  if (a.BS % kInterleaved)
    return fail(OPSWAP_E_SHAPE, "%s: value_cache has pages of %lld slots, interleaved_values needs a multiple of %d",
                op, (long long)a.BS, kInterleaved);
  if (a.NB && a.V && a.value_cache.stride[2] != a.V)
    return fail(OPSWAP_E_STRIDE, "%s: value_cache.stride[2] is %lld, needs %lld (V) with interleaved_values", op,
                (long long)a.value_cache.stride[2], (long long)a.V);
  return OPSWAP_OK;
}

// The scale of one head: there is one for all or one for each.
inline float scale_of(const Tensor &scale, int64_t head) {
  return scale ? scale.as<float>()[scale.shape[0] > 1 ? head * scale.stride[0] : 0] : 1.0f;
}

// Both or neither of two tensors, with entries where they are given.
inline opswap_status check_pair(const char *op, const char *k, const Tensor &k_scale, const char *v,
                                const Tensor &v_scale) {
  if (bool(k_scale) != bool(v_scale))
    return fail(OPSWAP_E_ARGUMENT, "%s: %s is given without %s, needs both or neither", op, k_scale ? k : v,
                k_scale ? v : k);
  return OPSWAP_OK;
}

template <class Args>
inline opswap_status check_options(const Args &a, const char *op) {
  if (opswap_status e = check_pair(op, "k_scale", a.k_scale, "v_scale", a.v_scale)) return e;
  if (opswap_status e = check_pair(op, "k_scale_cache", a.k_scale_cache, "v_scale_cache", a.v_scale_cache)) return e;
  if (a.k_scale && !a.KS)
    return fail(OPSWAP_E_SHAPE, "%s: k_scale is [0], needs [1] or [%lld] (KH)", op, (long long)a.KH);
  return OPSWAP_OK;
}

// Every block that sequence b reads lies in the cache, and its length fits its row of the table.
template <class Args>
inline opswap_status check_blocks(const Args &a, const char *op, int64_t b) {
  const int64_t length = index_at(a.seq_lens, b);
  if (length < 0 || length > a.MB * a.BS)
    return fail(OPSWAP_E_VALUE, "%s: seq_lens[%lld] is %lld, needs 0 to %lld (MB * BS of block_table)", op,
                (long long)b, (long long)length, (long long)(a.MB * a.BS));
  for (int64_t i = 0; i * a.BS < length; ++i) {
    const int32_t block = row<int32_t>(a.block_table, b)[i];
    if (block < 0 || block >= a.NB)
      return fail(OPSWAP_E_VALUE, "%s: block_table[%lld][%lld] is %d, needs 0 to %lld (NB - 1)", op, (long long)b,
                  (long long)i, block, (long long)(a.NB - 1));
  }
  return OPSWAP_OK;
}

// The same of keys that lie one after the other.
template <class Args>
inline opswap_status check_key_start(const Args &a, const char *op, int64_t b) {
  const int64_t begin = index_at(a.key_start_loc, b), end = index_at(a.key_start_loc, b + 1);
  if (begin < 0 || end < begin || end > a.NB * a.BS)
    return fail(OPSWAP_E_VALUE, "%s: key_start_loc[%lld..%lld] is %lld, %lld, needs to rise within 0 to %lld (NB * BS)",
                op, (long long)b, (long long)b + 1, (long long)begin, (long long)end, (long long)(a.NB * a.BS));
  const int64_t length = index_at(a.seq_lens, b);
  if (length < 0 || length > end - begin)
    return fail(OPSWAP_E_VALUE, "%s: seq_lens[%lld] is %lld, needs 0 to the %lld keys of key_start_loc", op,
                (long long)b, (long long)length, (long long)(end - begin));
  return OPSWAP_OK;
}

template <class Args>
inline opswap_status check_keys(const Args &a, const char *op, int64_t b) {
  if constexpr (requires { a.key_start_loc; })
    if (a.key_start_loc) return check_key_start(a, op, b);
  return check_blocks(a, op, b);
}

// Rows are the newest tokens of their sequence, unless each sees all of its keys; without keys they see nothing.
inline opswap_status check_rows(const char *op, int64_t b, int64_t rows, int64_t length, bool newest = true) {
  if (!newest || !length || rows <= length) return OPSWAP_OK;
  return fail(OPSWAP_E_VALUE, "%s: sequence %lld has %lld query rows, but seq_lens[%lld] is %lld", op, (long long)b,
              (long long)rows, (long long)b, (long long)length);
}

// Options, keys and the query rows of each sequence, for the ops with query_start_loc.
template <class Args>
inline opswap_status check_batch(const Args &a, const char *op) {
  if (opswap_status e = check_options(a, op)) return e;
  for (int64_t b = 0; b < a.B; ++b) {
    if (opswap_status e = check_keys(a, op, b)) return e;
    const int64_t begin = index_at(a.query_start_loc, b), end = index_at(a.query_start_loc, b + 1);
    if (begin < 0 || end < begin || end > a.T)
      return fail(OPSWAP_E_VALUE, "%s: query_start_loc[%lld..%lld] is %lld, %lld, needs to rise within 0 to T = %lld",
                  op, (long long)b, (long long)b + 1, (long long)begin, (long long)end, (long long)a.T);
    const bool newest = a.causal || window_of(a) > 0;
    if (opswap_status e = check_rows(op, b, end - begin, index_at(a.seq_lens, b), newest)) return e;
  }
  return OPSWAP_OK;
}

// What a plan of the call has to be of; whose card it is for does not matter on a CPU.
template <class Args>
inline AttentionPlanOf plan_of(const Args &a, int64_t q_len, bool mixed) {
  return {int32_t(a.QH), int32_t(a.KH), int32_t(q_len), int32_t(window_of(a)), 0, 0, a.batch_invariant, mixed};
}

// The same of a mixed batch: where sequences may have more than 8 new tokens, a plan is of those that have one.
template <class Args>
inline opswap_status check_mixed_plan(const Args &a, const char *op) {
  const bool few = a.max_query_len >= 1 && a.max_query_len <= 8;
  return check_plan(op, a, plan_of(a, few ? a.max_query_len : 1, true));
}

// max_query_len is what it says.
template <class Args>
inline opswap_status check_max_query_len(const Args &a, const char *op) {
  for (int64_t b = 0; a.max_query_len && b < a.B; ++b) {
    const int64_t rows = index_at(a.query_start_loc, b + 1) - index_at(a.query_start_loc, b);
    if (rows > a.max_query_len)
      return fail(OPSWAP_E_VALUE, "%s: sequence %lld has %lld query rows, but max_query_len is %lld", op, (long long)b,
                  (long long)rows, (long long)a.max_query_len);
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
