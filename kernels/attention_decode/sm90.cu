// attention_decode on sm_90a in BF16 and FP16: the heads that share a head of keys are few rows of queries
// (common/device/attention_few.h).
#include "attention_decode.gen.h"

#include "common/device/attention_call.h"
#include "common/device/attention_few.h"

namespace opswap::OPSWAP_PASS {

constexpr MatrixType kType = std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16;

template <int Head, int Rows>
__global__ void __launch_bounds__(FewMemory<Head, Rows>::kThreads, 1)
    attention_decode_kernel(const __grid_constant__ AttentionCall<Scalar> call) {
  using Memory = FewMemory<Head, Rows>;
  OPSWAP_SMEM(Memory, s);
  run_few<kType>(s, call);
}

OPSWAP_SM90_CAN(attention_decode) { return attention_refusal(a); }

template <int Head, int Rows>
opswap_status start(const attention_decode_args &a, const opswap_exec &exec) {
  using Memory = FewMemory<Head, Rows>;
  const AttentionCall<Scalar> call = attention_call<Scalar>(a);
  const Geometry geometry{.grid = {a.B * ceil_div<int64_t>(call.group, Rows), a.KH},
                          .block = {Memory::kThreads},
                          .smem = sizeof(Memory),
                          .pdl = true};
  return launch(exec, "attention_decode_kernel", attention_decode_kernel<Head, Rows>, geometry, call);
}

template <int Head>
opswap_status start(const attention_decode_args &a, const opswap_exec &exec) {
  const int64_t group = a.QH / a.KH;
  return group <= 8 ? start<Head, 8>(a, exec) : group <= 16 ? start<Head, 16>(a, exec) : start<Head, 64>(a, exec);
}

OPSWAP_SM90(attention_decode) {
  if (!a.B || !a.QH) return OPSWAP_OK;
  return a.D == 64 ? start<64>(a, exec) : start<128>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
