// Attention of many rows of queries, for the rooms that have it: the kernels, and their launch for heads of any size.
#pragma once

#include "common/device/attention_call.h"
#include "common/device/attention_codes.h"
#include "common/device/attention_kernel.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

template <class Memory>
OPSWAP_DEVICE void attend_numbers(Memory &s, const AttentionCall<Scalar> &call, int kv_heads) {
  constexpr MatrixType kType = std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16;
  run_attention(
      s, call, kv_heads,
      [&](const AttentionTask &task, int first, int tiles, int before) {
        load_tiles<true>(s, call, task, first, tiles, before, int(threadIdx.x) - Memory::kMultiplying);
      },
      [&](const AttentionTask &task, int first, int tiles, int before) {
        attend_task<kType>(s, call, task, first, tiles, before);
      });
}

template <int Head, int ValueHead, int Keys, bool Joins>
__global__ void __launch_bounds__(AttentionMemory<Head, ValueHead, Keys, Joins>::kThreads, 1)
    attend_many_kernel(const __grid_constant__ AttentionCall<Scalar> call, int kv_heads) {
  using Memory = AttentionMemory<Head, ValueHead, Keys, Joins>;
  OPSWAP_SMEM(Memory, s);
  attend_numbers(s, call, kv_heads);
}

// The same for calls without codes and scales.
template <int Head, int ValueHead, int Keys>
__global__ void __launch_bounds__(PlainMemory<Head, ValueHead, Keys>::kThreads, 1)
    attend_plain_kernel(const __grid_constant__ AttentionCall<Scalar> call, int kv_heads) {
  using Memory = PlainMemory<Head, ValueHead, Keys>;
  OPSWAP_SMEM(Memory, s);
  attend_numbers(s, call, kv_heads);
}

// The same where codes are multiplied.
template <int Head, int ValueHead, int Keys>
__global__ void __launch_bounds__(CodeMemory<Head, ValueHead, Keys>::kThreads, 1)
    attend_codes_kernel(const __grid_constant__ AttentionCall<Scalar> call, int kv_heads) {
  using Memory = CodeMemory<Head, ValueHead, Keys>;
  OPSWAP_SMEM(Memory, s);
  run_attention(
      s, call, kv_heads,
      [&](const AttentionTask &task, int first, int tiles, int before) {
        load_code_tiles(s, call, task, first, tiles, before, int(threadIdx.x) - Memory::kMultiplying);
      },
      [&](const AttentionTask &task, int first, int tiles, int before) {
        attend_code_task(s, call, task, first, tiles, before);
      });
}

template <class Memory, class Kernel, class Args>
opswap_status launch_rows(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call, const char *name,
                          Kernel kernel) {
  // Every sequence may leave one tile that is not full.
  const int64_t tiles =
      (a.T * call.group / Memory::kRows + call.sequences) * a.KH * (call.state.data ? call.states : 1);
  const Geometry geometry{
      .grid = {std::min(tiles, sms_of(exec))}, .block = {Memory::kThreads}, .smem = sizeof(Memory), .pdl = true};
  return launch(exec, name, kernel, geometry, with_boxes<Memory>(call), int(a.KH));
}
template <int Head, int ValueHead, int Keys, bool Joins, class Args>
opswap_status launch_many(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  return launch_rows<AttentionMemory<Head, ValueHead, Keys, Joins>>(a, exec, call, "attend_many_kernel",
                                                                    attend_many_kernel<Head, ValueHead, Keys, Joins>);
}
template <int Head, int ValueHead, int Keys, class Args>
opswap_status launch_plain(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  return launch_rows<PlainMemory<Head, ValueHead, Keys>>(a, exec, call, "attend_plain_kernel",
                                                         attend_plain_kernel<Head, ValueHead, Keys>);
}
template <int Head, int ValueHead, int Keys, class Args>
opswap_status launch_codes(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  return launch_rows<CodeMemory<Head, ValueHead, Keys>>(a, exec, call, "attend_codes_kernel",
                                                        attend_codes_kernel<Head, ValueHead, Keys>);
}

// Whether a call's codes can be multiplied as they are: a softcap and scales of slots need scores and probabilities of
// more precision than what is multiplied next.
template <class Args>
bool multiplies_codes(const Args &a) {
  return a.fp8_products && a.cache_dtype == DType::float8_e4m3fn && a.softcap <= 0 && !a.k_scale_cache &&
         placement(a.key_cache) % 16 == 0 && placement(a.value_cache) % 16 == 0;
}

template <class Args>
opswap_status launch_codes(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  if (a.D <= 64 && a.V <= 64) return launch_codes<64, 64, 256>(a, exec, call);
  if (a.D <= 128 && a.V <= 128) return launch_codes<128, 128, 192>(a, exec, call);
  if (a.D <= 192 && a.V <= 128) return launch_codes<192, 128, 128>(a, exec, call);
  return launch_codes<256, 256, 64>(a, exec, call);
}

// Whether no row's keys end within a tile but at its sequence's end, and nothing is scaled: then large tiles waste
// little.
inline bool sees_all(const AttentionCall<Scalar> &call) {
  const bool numbers = !call.codes && !call.k_scale.data && !call.key_scales.data;
  return numbers && !call.causal && call.sliding_window <= 0 && call.softcap <= 0 && call.softmax_scale > 0;
}

// By the features of a head: at most 256 of keys and of values. Rows that join other keys' leave registers for fewer
// keys.
template <class Args>
opswap_status launch_many(const Args &a, const opswap_exec &exec, const AttentionCall<Scalar> &call) {
  if constexpr (requires { a.prefix_len; }) {
    if (a.D <= 64 && a.V <= 64) return launch_many<64, 64, 128, true>(a, exec, call);
    if (a.D <= 128 && a.V <= 128) return launch_many<128, 128, 96, true>(a, exec, call);
    return launch_many<256, 256, 32, true>(a, exec, call);
  } else {
    if (multiplies_codes(a)) return launch_codes(a, exec, call);
    if (a.D <= 64 && a.V <= 64) return launch_many<64, 64, 128, false>(a, exec, call);
    if (a.D <= 128 && a.V <= 128)
      return sees_all(call) ? launch_plain<128, 128, 176>(a, exec, call)
                            : launch_many<128, 128, 128, false>(a, exec, call);
    if (a.D <= 192 && a.V <= 128) return launch_many<192, 128, 96, false>(a, exec, call);
    return launch_many<256, 256, 48, false>(a, exec, call);
  }
}

}  // namespace opswap::OPSWAP_PASS
