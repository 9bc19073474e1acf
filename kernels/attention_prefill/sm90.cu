// attention_prefill on sm_90a in BF16 and FP16, by the body that attention of many rows shares
// (common/device/attention_kernel.h).
#include "attention_prefill.gen.h"

#include "common/device/attention_many.h"

namespace opswap::OPSWAP_PASS {

// sass attend_codes_kernel: QGMMA LDGSTS UTMALDG
// sass attend_codes_kernel<128, *: descriptor=0x40000040,0x80000020 issue<=100
// sass attend_codes_kernel<192, *: descriptor=0x40000040,0x80000020 issue<=90
// sass attend_codes_kernel<256, *: descriptor=0x40000040,0x80000020 issue<=90
// sass attend_codes_kernel<64, *: descriptor=0x40000040,0x80000020 issue<=180
// sass attend_plain_kernel: HGMMA LDGSTS UTMALDG
// sass attend_plain_kernel<128, *: descriptor=0x40000040 issue<=60
// sass attend_many_kernel: HGMMA LDGSTS UTMALDG
// sass attend_many_kernel<128, *: descriptor=0x40000040 issue<=120
// sass attend_many_kernel<192, *: descriptor=0x40000040 issue<=105
// sass attend_many_kernel<256, *: descriptor=0x40000040 issue<=90
// sass attend_many_kernel<64, *: descriptor=0x40000040 issue<=230

OPSWAP_SM90_CAN(attention_prefill) {
  if (a.interleaved_values &&
      (!multiplies_codes(a) || !a.block_table || a.BS % kInterleaved || a.value_cache.stride[2] != a.V))
    return "takes interleaved values in pages, with fp8_products, without a softcap and scales of slots";
  return attention_refusal(a);
}

OPSWAP_SM90(attention_prefill) {
  if (!a.T || !a.QH) return OPSWAP_OK;
  AttentionCall<Scalar> call = attention_call<Scalar>(a);
  call.query_start_loc = vector_of<int32_t>(a.query_start_loc);
  without_pages(call, a);
  call.causal = a.causal;
  if (a.interleaved_values) {
    call.interleaved = true;
    call.values.slot = 1, call.values.bytes = int(a.BS);
  }
  return launch_many(a, exec, call);
}

}  // namespace opswap::OPSWAP_PASS
