// Attention of a few rows of queries that is cut over the card, for the rooms that have it: the plan, unless it is
// given, the kernel of few rows, and parts of sequences put together.
#pragma once

#include "common/device/attention_call.h"
#include "common/device/attention_few.h"
#include "common/device/attention_planner.h"
#include "common/device/product_card.h"

namespace opswap::OPSWAP_PASS {

constexpr int kMergeThreads = 128, kMergeHeads = kMergeThreads / kWarp;

template <int Head, int Rows>
__global__ void __launch_bounds__(FewMemory<Head, Rows>::kThreads, kAttentionResident)
    attend_few_kernel(const __grid_constant__ AttentionCall<Scalar> call,
                      const __grid_constant__ AttentionParts parts) {
  using Memory = FewMemory<Head, Rows>;
  OPSWAP_SMEM(Memory, s);
  run_few<std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16>(s, call, parts);
}

// Blocks along x are sequences, those along y tokens, those along z heads, one for each warp.
template <int Head>
__global__ void __launch_bounds__(kMergeThreads) merge_parts_kernel(const __grid_constant__ AttentionCall<Scalar> call,
                                                                    const __grid_constant__ AttentionParts parts) {
  dependency_wait();
  const int head = int(blockIdx.z) * kMergeHeads + int(threadIdx.x) / kWarp;
  if (head < parts.heads) merge_parts<Head>(call, parts, int(blockIdx.x), int(blockIdx.y), head);
}

// How a call's sequences of at most `tokens` new tokens are cut: as a given plan says, or for the SMs of the call. Of
// the workspace: the plan, then sums of parts, then their log-sum-exp.
struct AttentionCut {
  int64_t tokens, bins, head, heads, parts, sums_at, lse_at, bytes;  // `head`: features, padded
  bool given;                                                        // the plan
};
template <class Args>
AttentionCut cut_of(const Args &a, const opswap_exec &exec, int64_t tokens) {
  const int64_t features = std::max(a.D, a.V), sms = a.plan ? kAttentionMostBins : sms_of(exec);
  AttentionCut cut{tokens, attention::bins_of(sms, a.QH, a.KH, tokens),
                   features <= 64    ? 64
                   : features <= 128 ? 128
                                     : 256,
                   a.QH};
  cut.given = bool(a.plan);
  cut.parts = attention_partial_rows(cut.bins);
  cut.sums_at = a.plan ? 0 : round_up<int64_t>(attention_plan_words(a.B) * 4, 64);
  cut.lse_at = cut.sums_at + cut.parts * tokens * a.QH * cut.head * 4;
  cut.bytes = cut.lse_at + cut.parts * tokens * a.QH * 4;
  return cut;
}

template <int Head, int Rows>
opswap_status launch_few(const opswap_exec &exec, const AttentionCut &cut, const AttentionCall<Scalar> &call,
                         const AttentionParts &parts) {
  using Memory = FewMemory<Head, Rows>;
  const int64_t tiles = parts.heads / call.group * ceil_div<int64_t>(call.group * cut.tokens, Rows);
  const Geometry geometry{.grid = {cut.bins, tiles}, .block = {Memory::kThreads}, .smem = sizeof(Memory), .pdl = true};
  return launch(exec, "attend_few_kernel", attend_few_kernel<Head, Rows>, geometry, with_boxes<Memory>(call), parts);
}

template <int Head>
opswap_status launch_few(const opswap_exec &exec, const AttentionCut &cut, const AttentionCall<Scalar> &call,
                         const AttentionParts &parts) {
  const int rows = attention::tile_rows(call.group * cut.tokens);
  return rows == 8    ? launch_few<Head, 8>(exec, cut, call, parts)
         : rows == 16 ? launch_few<Head, 16>(exec, cut, call, parts)
                      : launch_few<Head, 32>(exec, cut, call, parts);
}

template <int Head>
opswap_status launch_merge(const opswap_exec &exec, const AttentionCut &cut, const AttentionCall<Scalar> &call,
                           const AttentionParts &parts) {
  if (!cut.parts && !cut.given) return OPSWAP_OK;  // no sequence has two, and the plan fits
  const Geometry geometry{.grid = {call.sequences, cut.tokens, ceil_div<int64_t>(cut.heads, kMergeHeads)},
                          .block = {kMergeThreads},
                          .pdl = true};
  return launch(exec, "merge_parts_kernel", merge_parts_kernel<Head>, geometry, call, parts);
}

// The plan of the call, unless it is given; and the memory of its parts.
template <class Args>
opswap_status plan_cut(const Args &a, const opswap_exec &exec, const AttentionCut &cut,
                       const AttentionCall<Scalar> &call, AttentionParts &parts) {
  char *const memory = static_cast<char *>(exec.workspace);
  parts = {a.plan ? a.plan.template as<const int32_t>() : reinterpret_cast<const int32_t *>(memory),
           reinterpret_cast<float *>(memory + cut.sums_at),
           reinterpret_cast<float *>(memory + cut.lse_at),
           int(a.QH),
           int(cut.parts),
           a.batch_invariant};
  if (a.plan) return OPSWAP_OK;
  const AttentionPlanOf of{int32_t(a.QH),
                           int32_t(a.KH),
                           int32_t(cut.tokens),
                           call.sliding_window,
                           product_card(0, sms_of(exec)),
                           int32_t(sms_of(exec)),
                           a.batch_invariant,
                           bool(call.query_start_loc.data)};
  return launch_attention_planner(exec, reinterpret_cast<int32_t *>(memory),
                                  {call.seq_lens, call.query_start_loc, call.sequences}, of);
}

// body<Head>() for the padded features of a cut.
template <class Body>
opswap_status with_head(const AttentionCut &cut, Body &&body) {
  return cut.head == 64    ? body.template operator()<64>()
         : cut.head == 128 ? body.template operator()<128>()
                           : body.template operator()<256>();
}

}  // namespace opswap::OPSWAP_PASS
