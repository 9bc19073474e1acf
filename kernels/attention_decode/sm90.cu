// attention_decode on sm_90a in BF16 and FP16: the heads that share a head of keys are few rows of queries
// (common/device/attention_few.h), and sequences are cut for the card by a plan that the device makes.
#include "attention_decode.gen.h"

#include "common/device/attention_call.h"
#include "common/device/attention_few.h"

namespace opswap::OPSWAP_PASS {

constexpr MatrixType kType = std::is_same_v<Scalar, bf16> ? MatrixType::bf16 : MatrixType::fp16;
constexpr int kTile = AttentionRing<64, 2>::kKeys, kMergeThreads = 128;

__global__ void __launch_bounds__(kAttentionPlanThreads)
    attention_decode_plan_kernel(int32_t *words, const __grid_constant__ AttentionCall<Scalar> call, int bins) {
  OPSWAP_SMEM(AttentionPlanning, s);
  plan_attention<kTile>(words, s.found, call, bins);
}

template <int Head, int Rows>
__global__ void __launch_bounds__(FewMemory<Head, Rows>::kThreads, 1)
    attention_decode_kernel(const __grid_constant__ AttentionCall<Scalar> call,
                            const __grid_constant__ AttentionParts parts) {
  using Memory = FewMemory<Head, Rows>;
  OPSWAP_SMEM(Memory, s);
  run_few<kType>(s, call, parts);
}

// Blocks along x are sequences, warps heads.
template <int Head>
__global__ void __launch_bounds__(kMergeThreads)
    attention_decode_merge_kernel(const __grid_constant__ AttentionCall<Scalar> call,
                                  const __grid_constant__ AttentionParts parts) {
  dependency_wait();
  const int head = int(blockIdx.y) * (kMergeThreads / kWarp) + int(threadIdx.x) / kWarp;
  if (head < parts.heads) merge_parts<Head>(call, parts, int(blockIdx.x), head);
}

// sass attention_decode_kernel: HGMMA LDGSTS STSM
// sass attention_decode_kernel<128, *: descriptor=0x40000040 issue<=165
// sass attention_decode_kernel<128, 8>: issue<=115
// sass attention_decode_kernel<64, *: descriptor=0x40000040 issue<=270
// sass attention_decode_kernel<64, 8>: issue<=168

OPSWAP_SM90_CAN(attention_decode) { return attention_refusal(a); }

// Rows of queries that share a head of keys, as many as a block takes.
int64_t rows_of(const attention_decode_args &a) {
  const int64_t group = a.KH ? a.QH / a.KH : 0;
  return group <= 8 ? 8 : group <= 16 ? 16 : 32;
}

// Blocks that share the tiles of a head of keys: an SM has one.
int64_t bins_of(const attention_decode_args &a, const opswap_exec &exec) {
  const int64_t each = a.KH * ceil_div<int64_t>(a.QH / a.KH, rows_of(a));
  return std::max<int64_t>(sms_of(exec) / each, 1);
}

// Of the workspace: the plan, then sums of parts, then their log-sum-exp.
struct Workspace {
  int64_t sums, lse, bytes;
};
Workspace workspace_of(const attention_decode_args &a, const opswap_exec &exec) {
  const int64_t bins = bins_of(a, exec), rows = attention_partial_rows(bins) * a.QH;
  const int64_t sums = round_up<int64_t>(attention_plan_words(bins, a.B) * 4, 64), lse = sums + rows * a.D * 4;
  return {sums, lse, lse + rows * 4};
}

OPSWAP_SM90_WORKSPACE(attention_decode) {
  return !a.B || !a.QH || attention_refusal(a) ? 0 : size_t(workspace_of(a, exec).bytes);
}

template <int Head, int Rows>
opswap_status start(const attention_decode_args &a, const opswap_exec &exec) {
  using Memory = FewMemory<Head, Rows>;
  const AttentionCall<Scalar> call = attention_call<Scalar>(a);
  const Workspace space = workspace_of(a, exec);
  char *const memory = static_cast<char *>(exec.workspace);
  auto *const words = reinterpret_cast<int32_t *>(memory);
  const int bins = int(bins_of(a, exec));
  const AttentionParts parts{words, reinterpret_cast<float *>(memory + space.sums),
                             reinterpret_cast<float *>(memory + space.lse), bins, int(a.QH)};
  const Geometry plan{.grid = {1}, .block = {kAttentionPlanThreads}, .smem = sizeof(AttentionPlanning), .pdl = true};
  if (const opswap_status bad =
          launch(exec, "attention_decode_plan_kernel", attention_decode_plan_kernel, plan, words, call, bins))
    return bad;
  const Geometry geometry{.grid = {bins, a.KH * ceil_div<int64_t>(call.group, Rows)},
                          .block = {Memory::kThreads},
                          .smem = sizeof(Memory),
                          .pdl = true};
  if (const opswap_status bad =
          launch(exec, "attention_decode_kernel", attention_decode_kernel<Head, Rows>, geometry, call, parts))
    return bad;
  if (bins == 1) return OPSWAP_OK;  // no sequence has two parts
  const Geometry merge{
      .grid = {a.B, ceil_div<int64_t>(a.QH, kMergeThreads / kWarp)}, .block = {kMergeThreads}, .pdl = true};
  return launch(exec, "attention_decode_merge_kernel", attention_decode_merge_kernel<Head>, merge, call, parts);
}

template <int Head>
opswap_status start(const attention_decode_args &a, const opswap_exec &exec) {
  const int64_t rows = rows_of(a);
  return rows == 8 ? start<Head, 8>(a, exec) : rows == 16 ? start<Head, 16>(a, exec) : start<Head, 32>(a, exec);
}

OPSWAP_SM90(attention_decode) {
  if (!a.B || !a.QH) return OPSWAP_OK;
  return a.D == 64 ? start<64>(a, exec) : start<128>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
