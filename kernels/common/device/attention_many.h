// Attention of many rows of queries, for the rooms that have it: the kernel, and its launch for heads of any size.
#pragma once

#include "common/device/attention_call.h"
#include "common/device/attention_kernel.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

template <int Head, int ValueHead, int Keys>
__global__ void __launch_bounds__(AttentionMemory<Head, ValueHead, Keys>::kThreads, 1)
    attend_many_kernel(const __grid_constant__ AttentionCall<Scalar> call, int kv_heads) {
  using Memory = AttentionMemory<Head, ValueHead, Keys>;
  OPSWAP_SMEM(Memory, s);
  run_attention<std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16>(s, call, kv_heads);
}

template <int Head, int ValueHead, int Keys, class Args>
opswap_status launch_many(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  using Memory = AttentionMemory<Head, ValueHead, Keys>;
  // Every sequence may leave one tile that is not full.
  const int64_t tiles = (a.T * call.group / Memory::kRows + call.sequences) * a.KH;
  const Geometry geometry{
      .grid = {std::min(tiles, sms_of(exec))}, .block = {Memory::kThreads}, .smem = sizeof(Memory), .pdl = true};
  return launch(exec, "attend_many_kernel", attend_many_kernel<Head, ValueHead, Keys>, geometry, call, int(a.KH));
}

// By the features of a head: at most 256 of keys and of values.
template <class Args>
opswap_status launch_many(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  if (a.D <= 64 && a.V <= 64) return launch_many<64, 64, 128>(a, exec, call);
  if (a.D <= 128 && a.V <= 128) return launch_many<128, 128, 128>(a, exec, call);
  if (a.D <= 192 && a.V <= 128) return launch_many<192, 128, 96>(a, exec, call);
  return launch_many<256, 256, 48>(a, exec, call);
}

}  // namespace opswap::OPSWAP_PASS
