// paged_attention on sm_90a in BF16 and FP16: which sequences decode is known on the device alone, so one launch takes
// both kinds, by the body that attention shares (common/device/attention_kernel.h).
#include "paged_attention.gen.h"

#include "common/device/attention_kernel.h"

namespace opswap::OPSWAP_PASS {

constexpr MatrixType kType = std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16;

template <int Head, int Groups>
__global__ void __launch_bounds__(AttentionMemory<Head, Groups>::kThreads, 1)
    paged_attention_kernel(const __grid_constant__ AttentionCall<Scalar> call) {
  using Memory = AttentionMemory<Head, Groups>;
  OPSWAP_SMEM(Memory, s);
  run_attention<kType>(s, call);
}

// sass paged_attention_kernel: HGMMA LDGSTS
// sass paged_attention_kernel<128, *: descriptor=0x40000040 issue<=120
// sass paged_attention_kernel<64, *: descriptor=0x40000040 issue<=220

OPSWAP_SM90_CAN(paged_attention) { return attention_refusal(a); }

OPSWAP_SM90(paged_attention) {
  return launch_sequences<Scalar>(a, exec, "paged_attention_kernel",
                                  [&]<int Head, int Groups>() { return paged_attention_kernel<Head, Groups>; });
}

}  // namespace opswap::OPSWAP_PASS
