// On the host: what rooms of attention have in common.
#pragma once

#include "common/device/access.h"
#include "common/device/attention_plan.h"
#include "common/device/attention_rows.h"

namespace opswap {

// Why the rows of a cache cannot be gathered, or nullptr. Rows of codes may have scales between them.
inline const char *cache_refusal(const Tensor &cache) {
  const bool codes = cache.dtype == DType::float8_e4m3fn;
  if (device::placement(cache) % (codes ? 4 : 16) == 0) return nullptr;
  return codes ? "needs rows of codes that begin at multiples of 4 bytes"
               : "needs rows of key_cache and value_cache that begin at multiples of 16 bytes";
}

// Why such heads, queries, caches and results cannot be worked on, or nullptr.
template <class Args>
inline const char *attention_refusal(const Args &a) {
  if (a.D % 8 || a.V % 8 || a.D > 256 || a.V > 256)
    return "its kernels have heads of at most 256 features, in multiples of 8";
  for (const Tensor *cache : {&a.key_cache, &a.value_cache})
    if (const char *why = cache_refusal(*cache)) return why;
  if (!device::fits(a.query, 8)) return "needs rows of query that begin at multiples of 16 bytes";
  if (!device::fits(a.out, 8)) return "needs rows of out that begin at multiples of 16 bytes";
  return nullptr;
}

// The call without what not all ops have.
template <class T, class Args>
inline AttentionCall<T> attention_call(const Args &a) {
  return {.query = head_rows<const T>(a.query),
          .out = head_rows<T>(a.out),
          .lse = head_rows<float>(a.lse),
          .state = {},
          .other = {},
          .other_lse = {},
          .states = 0,
          .state_part = 0,
          .lse_part = 0,
          .keys = paged_rows(a.key_cache),
          .values = paged_rows(a.value_cache),
          .key_scales = paged_rows(a.k_scale_cache),
          .value_scales = paged_rows(a.v_scale_cache),
          .codes = a.cache_dtype == DType::float8_e4m3fn,
          .interleaved = false,
          .block_table = a.block_table.template as<const int32_t>(),
          .key_start_loc = {},
          .table_row = a.block_table ? a.block_table.stride[0] : 0,
          .table_column = a.block_table ? a.block_table.stride[1] : 0,
          .query_start_loc = {},
          .seq_lens = vector_of<int32_t>(a.seq_lens),
          .k_scale = vector_of<float>(a.k_scale),
          .v_scale = vector_of<float>(a.v_scale),
          .sinks = vector_of<float>(a.sinks),
          .sequences = int(a.B),
          .group = int(a.QH / a.KH),
          .q_len = 1,
          .prefix_len = 0,
          .features = int(a.D),
          .value_features = int(a.V),
          .few_tokens = 0,
          .block_size = division_by(std::max<int64_t>(a.BS, 1)),
          .by_group = division_by(std::max<int64_t>(a.QH / a.KH, 1)),
          .sliding_window = int(window_of(a)),
          .causal = true,
          .softmax_scale = float(a.softmax_scale),
          .softcap = float(a.softcap),
          .boxed = false,
          .key_map = {},
          .value_map = {}};
}

// Keys without pages: those of a sequence follow one another, all over pages where these do.
template <class T, class Args>
inline void without_pages(AttentionCall<T> &call, const Args &a) {
  call.key_start_loc = vector_of<int32_t>(a.key_start_loc);
  if (a.block_table) return;
  AttentionCall<T> joined = call;
  for (PagedRows *rows : {&joined.keys, &joined.values, &joined.key_scales, &joined.value_scales})
    if (rows->data && !one_page(*rows)) return;
  joined.block_size = division_by(std::max(joined.keys.slots, 1));
  call = joined;
}

}  // namespace opswap
