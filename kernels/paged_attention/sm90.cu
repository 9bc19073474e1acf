// paged_attention on sm_90a in BF16 and FP16: sequences that decode are cut over the card as attention_decode's are,
// the others are tiles as attention_prefill's are (common/device/attention_mixed.h).
#include "paged_attention.gen.h"

#include "common/device/attention_mixed.h"

namespace opswap::OPSWAP_PASS {

// sass attend_few_kernel: HGMMA LDGSTS STSM UTMALDG
// sass attend_few_kernel<128, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<256, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<64, *: descriptor=0x40000040 issue<=290
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

OPSWAP_SM90_CAN(paged_attention) { return attention_refusal(a); }

OPSWAP_SM90_WORKSPACE(paged_attention) {
  return !a.T || !a.QH || attention_refusal(a) ? 0 : size_t(mixed_workspace(a, exec));
}

OPSWAP_SM90(paged_attention) { return !a.T || !a.QH ? OPSWAP_OK : launch_mixed(a, exec, attention_call<Scalar>(a)); }

}  // namespace opswap::OPSWAP_PASS
