// attention_decode on sm_90a in BF16 and FP16, by the body that attention shares (common/device/attention_kernel.h).
#include "attention_decode.gen.h"

#include "common/device/access.h"
#include "common/device/attention_kernel.h"

namespace opswap::OPSWAP_PASS {

constexpr MatrixType kType = std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16;

template <int Head, int Groups>
__global__ void __launch_bounds__(AttentionMemory<Head, Groups>::kThreads, 1)
    attention_decode_kernel(const __grid_constant__ AttentionCall<Scalar> call) {
  using Memory = AttentionMemory<Head, Groups>;
  OPSWAP_SMEM(Memory, s);
  run_attention<kType>(s, call);
}

OPSWAP_SM90_CAN(attention_decode) { return attention_refusal(a); }

OPSWAP_SM90(attention_decode) {
  if (!a.B || !a.QH) return OPSWAP_OK;
  const AttentionCall<Scalar> call = attention_call<Scalar>(a);
  const int64_t tiles = a.B * ceil_div<int64_t>(call.group, 64);
  const auto kernel = [&]<int Head, int Groups>() { return attention_decode_kernel<Head, Groups>; };
  constexpr const char *kName = "attention_decode_kernel";
  return a.D == 64 ? launch_attention<64, 1>(exec, kName, tiles, a.KH, call, kernel)
                   : launch_attention<128, 1>(exec, kName, tiles, a.KH, call, kernel);
}

}  // namespace opswap::OPSWAP_PASS
