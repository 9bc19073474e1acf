// paged_attention on sm_90a in BF16 and FP16: sequences that decode are cut over the card as attention_decode's are,
// the others are tiles as attention_prefill's are. Which are which is known on the device alone, so both kernels are
// launched, unless the caller says that no sequence has many new tokens.
#include "paged_attention.gen.h"

#include "common/device/attention_cut.h"
#include "common/device/attention_many.h"

namespace opswap::OPSWAP_PASS {

// sass attend_few_kernel: HGMMA LDGSTS STSM
// sass attend_few_kernel<128, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<256, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<64, *: descriptor=0x40000040 issue<=290
// sass attend_codes_kernel: QGMMA LDGSTS
// sass attend_codes_kernel<128, *: descriptor=0x40000040,0x80000020 issue<=140
// sass attend_codes_kernel<192, *: descriptor=0x40000040,0x80000020,computed issue<=125
// sass attend_codes_kernel<256, *: descriptor=0x40000040,0x80000020,computed issue<=115
// sass attend_codes_kernel<64, *: descriptor=0x40000040,0x80000020,computed issue<=260
// sass attend_plain_kernel: HGMMA LDGSTS
// sass attend_plain_kernel<128, *: descriptor=0x40000040 issue<=65
// sass attend_many_kernel: HGMMA LDGSTS
// sass attend_many_kernel<128, *: descriptor=0x40000040 issue<=130
// sass attend_many_kernel<192, *: descriptor=0x40000040 issue<=115
// sass attend_many_kernel<256, *: descriptor=0x40000040 issue<=95
// sass attend_many_kernel<64, *: descriptor=0x40000040 issue<=240

constexpr int64_t kMostFewTokens = 8;

// New tokens of a sequence that decodes. Without the causal mask no sequence does: a newest token sees all keys then.
// What the batch has at most decides nothing where a sequence's bits may not depend on it.
int64_t few_tokens_of(const paged_attention_args &a) {
  if (!a.causal) return 0;
  if (a.batch_invariant) return 1;
  return a.max_query_len > 0 && a.max_query_len <= kMostFewTokens ? a.max_query_len : 1;
}
// Whether some sequence may have more.
bool has_many(const paged_attention_args &a) { return a.max_query_len == 0 || a.max_query_len > few_tokens_of(a); }

OPSWAP_SM90_CAN(paged_attention) { return attention_refusal(a); }

OPSWAP_SM90_WORKSPACE(paged_attention) {
  if (!a.T || !a.QH || !few_tokens_of(a) || attention_refusal(a)) return 0;
  return size_t(cut_of(a, exec, few_tokens_of(a)).bytes);
}

OPSWAP_SM90(paged_attention) {
  if (!a.T || !a.QH) return OPSWAP_OK;
  AttentionCall<Scalar> call = attention_call<Scalar>(a);
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
