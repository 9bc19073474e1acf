// On the host: what rooms of attention have in common.
#pragma once

#include "common/device/access.h"
#include "common/device/attention_rows.h"

namespace opswap {

// Why the rows of a cache or of queries cannot be gathered in pieces of 16 bytes, or nullptr.
template <class Args>
inline const char *attention_refusal(const Args &a) {
  if (a.D != a.V || (a.D != 64 && a.D != 128)) return "its kernels have heads of 64 or 128 features, K and V alike";
  if (!device::fits(a.query, 8) || !device::fits(a.key_cache, 8) || !device::fits(a.value_cache, 8))
    return "needs rows of query, key_cache and value_cache that begin at multiples of 16 bytes";
  if (!device::fits(a.out, 4)) return "needs rows of out that begin at multiples of 8 bytes";
  return nullptr;
}

// The call without what its op alone has: query_start_loc, causal.
template <class T, class Args>
inline AttentionCall<T> attention_call(const Args &a) {
  return {.query = head_rows<const T>(a.query),
          .out = head_rows<T>(a.out),
          .lse = head_rows<float>(a.lse),
          .keys = paged_rows<T>(a.key_cache),
          .values = paged_rows<T>(a.value_cache),
          .block_table = a.block_table.template as<const int32_t>(),
          .table_row = a.block_table.stride[0],
          .table_column = a.block_table.stride[1],
          .query_start_loc = {},
          .seq_lens = counts_of(a.seq_lens),
          .sequences = int(a.B),
          .group = int(a.QH / a.KH),
          .block_size = int(a.BS),
          .sliding_window = a.sliding_window,
          .causal = true,
          .softmax_scale = float(a.softmax_scale),
          .softcap = float(a.softcap)};
}

}  // namespace opswap
