// attention_prefill on sm_90a in BF16 and FP16, by the body that attention shares (common/device/attention_kernel.h).
#include "attention_prefill.gen.h"

#include "common/device/attention_kernel.h"

namespace opswap::OPSWAP_PASS {

constexpr MatrixType kType = std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16;

template <int Head, int Groups>
__global__ void __launch_bounds__(AttentionMemory<Head, Groups>::kThreads, 1)
    attention_prefill_kernel(const __grid_constant__ AttentionCall<Scalar> call) {
  using Memory = AttentionMemory<Head, Groups>;
  OPSWAP_SMEM(Memory, s);
  run_attention<kType>(s, call);
}

// sass attention_prefill_kernel: HGMMA LDGSTS
// sass attention_prefill_kernel<128, *: descriptor=0x40000040 issue<=120
// sass attention_prefill_kernel<64, *: descriptor=0x40000040 issue<=220

OPSWAP_SM90_CAN(attention_prefill) { return attention_refusal(a); }

OPSWAP_SM90(attention_prefill) {
  return launch_sequences<Scalar>(a, exec, "attention_prefill_kernel",
                                  [&]<int Head, int Groups>() { return attention_prefill_kernel<Head, Groups>; });
}

}  // namespace opswap::OPSWAP_PASS
