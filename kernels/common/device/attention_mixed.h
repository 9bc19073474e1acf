// Attention of a batch of which only the device knows which sequences decode, for the rooms that have it: the kernel of
// few rows, the one of many, unless the caller says that no sequence has many new tokens, and parts put together.
#pragma once

#include "common/device/attention_cut.h"
#include "common/device/attention_many.h"

namespace opswap::OPSWAP_PASS {

constexpr int64_t kMostFewTokens = 8;

// New tokens of a sequence that decodes. Without the causal mask no sequence does: a newest token sees all keys then.
// What the batch has at most decides nothing where a sequence's bits may not depend on it.
template <class Args>
int64_t few_tokens_of(const Args &a) {
  if (!a.causal) return 0;
  if (a.batch_invariant) return 1;
  return a.max_query_len > 0 && a.max_query_len <= kMostFewTokens ? a.max_query_len : 1;
}
// Whether some sequence may have more.
template <class Args>
bool has_many(const Args &a) {
  return a.max_query_len == 0 || a.max_query_len > few_tokens_of(a);
}

template <class Args>
int64_t mixed_workspace(const Args &a, const opswap_exec &exec) {
  return few_tokens_of(a) ? cut_of(a, exec, few_tokens_of(a)).bytes : 0;
}

template <class Args>
opswap_status launch_mixed(const Args &a, const opswap_exec &exec, AttentionCall<Scalar> call) {
  call.query_start_loc = vector_of<int32_t>(a.query_start_loc);
  call.causal = a.causal;
  call.few_tokens = int(few_tokens_of(a));
  if (!call.few_tokens) return launch_many(a, exec, call);
  const AttentionCut cut = cut_of(a, exec, call.few_tokens);
  AttentionParts parts;
  if (opswap_status bad = plan_cut(a, exec, cut, call, parts)) return bad;
  return with_head(cut, [&]<int Head>() {
    if (opswap_status bad = launch_few<Head>(exec, cut, call, parts)) return bad;
    if (has_many(a))
      if (opswap_status bad = launch_many(a, exec, call)) return bad;
    return launch_merge<Head>(exec, cut, call, parts);
  });
}

}  // namespace opswap::OPSWAP_PASS
