// attention_decode on sm_90a in BF16 and FP16: the heads that share a head of keys are few rows of queries
// (common/device/attention_few.h), and sequences are cut for the card by a plan that the device makes.
#include "attention_decode.gen.h"

#include "common/device/attention_cut.h"

namespace opswap::OPSWAP_PASS {

// sass attend_few_kernel: HGMMA LDGSTS STSM UTMALDG
// sass attend_few_kernel<128, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<128, 8>: issue<=115
// sass attend_few_kernel<256, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<64, *: descriptor=0x40000040 issue<=290
// sass attend_few_kernel<64, 8>: issue<=180

OPSWAP_SM90_CAN(attention_decode) { return attention_refusal(a); }

OPSWAP_SM90_WORKSPACE(attention_decode) {
  return !a.T || !a.QH || attention_refusal(a) ? 0 : size_t(cut_of(a, exec, a.q_len).bytes);
}

OPSWAP_SM90(attention_decode) {
  if (!a.T || !a.QH) return OPSWAP_OK;
  AttentionCall<Scalar> call = attention_call<Scalar>(a);
  call.q_len = call.few_tokens = int(a.q_len);
  const AttentionCut cut = cut_of(a, exec, a.q_len);
  AttentionParts parts;
  if (opswap_status bad = plan_cut(a, exec, cut, call, parts)) return bad;
  return with_head(cut, [&]<int Head>() {
    const opswap_status bad = launch_few<Head>(exec, cut, call, parts);
    return bad ? bad : launch_merge<Head>(exec, cut, call, parts);
  });
}

}  // namespace opswap::OPSWAP_PASS
