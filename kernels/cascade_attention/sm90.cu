// cascade_attention on sm_90a in BF16 and FP16: all rows are one sequence's over the prefix, whose keys are read once
// for them; then each sequence's rows over its own keys, as paged_attention's, which join the prefix's state as they
// are written. That state is kept in float32.
#include "cascade_attention.gen.h"

#include "common/device/attention_mixed.h"

namespace opswap::OPSWAP_PASS {

// sass attend_few_kernel: HGMMA LDGSTS STSM UTMALDG
// sass attend_few_kernel<128, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<256, *: descriptor=0x40000040 issue<=165
// sass attend_few_kernel<64, *: descriptor=0x40000040 issue<=290
// sass attend_many_kernel: HGMMA LDGSTS UTMALDG
// sass attend_many_kernel<128, *: descriptor=0x40000040 issue<=130
// sass attend_many_kernel<256, *: descriptor=0x40000040 issue<=95
// sass attend_many_kernel<64, *: descriptor=0x40000040 issue<=240

// Keys that are worth a state of their own, and states that a row joins without waiting for them long.
constexpr int64_t kTileRows = 128, kLeastPart = 512, kMostParts = 8;

// Parts of the prefix: where there are fewer tiles of rows than SMs, the others take keys of their own.
static int64_t parts_of(const cascade_attention_args &a, const opswap_exec &exec) {
  if (a.batch_invariant) return 1;
  const int64_t tiles = ceil_div<int64_t>(a.T * (a.QH / a.KH), kTileRows) * a.KH;
  return std::max<int64_t>(std::min({sms_of(exec) / tiles, a.prefix_len / kLeastPart, kMostParts}), 1);
}

// Of the workspace: what the own keys need, then the prefix's values [parts, T, QH, V] and their log-sum-exp
// [parts, T, QH].
struct CascadeMemory {
  int64_t parts, values_at, lse_at, bytes;
};
static CascadeMemory memory_of(const cascade_attention_args &a, const opswap_exec &exec) {
  const int64_t parts = parts_of(a, exec), rows = parts * a.T * a.QH;
  const int64_t values_at = round_up<int64_t>(mixed_workspace(a, exec), 64), lse_at = values_at + rows * a.V * 4;
  return {parts, values_at, lse_at, lse_at + rows * 4};
}

OPSWAP_SM90_CAN(cascade_attention) { return attention_refusal(a); }

OPSWAP_SM90_WORKSPACE(cascade_attention) {
  return !a.T || !a.QH || attention_refusal(a) ? 0 : size_t(memory_of(a, exec).bytes);
}

// Sinks count once, beside the own keys.
static opswap_status run_prefix(const cascade_attention_args &a, const opswap_exec &exec, AttentionCall<Scalar> call) {
  call.block_table = a.prefix_block_table.as<const int32_t>();
  call.table_row = 0, call.table_column = a.prefix_block_table.stride[1];
  call.seq_lens = {}, call.sinks = {};
  call.sequences = 1, call.q_len = int(a.T), call.prefix_len = int(a.prefix_len);
  call.causal = false;
  return launch_many(a, exec, call);
}

OPSWAP_SM90(cascade_attention) {
  if (!a.T || !a.QH) return OPSWAP_OK;
  AttentionCall<Scalar> own = attention_call<Scalar>(a), prefix = own;
  if (a.prefix_len) {
    const CascadeMemory memory = memory_of(a, exec);
    char *const at = static_cast<char *>(exec.workspace);
    prefix.state = {reinterpret_cast<float *>(at + memory.values_at), a.QH * a.V, a.V};
    prefix.lse = {reinterpret_cast<float *>(at + memory.lse_at), a.QH, 1};
    prefix.states = own.states = int(memory.parts);
    prefix.state_part = own.state_part = a.T * a.QH * a.V, prefix.lse_part = own.lse_part = a.T * a.QH;
    own.other = {prefix.state.data, prefix.state.token, prefix.state.head};
    own.other_lse = {prefix.lse.data, prefix.lse.token, prefix.lse.head};
    if (opswap_status bad = run_prefix(a, exec, prefix)) return bad;
  }
  return launch_mixed(a, exec, own);
}

}  // namespace opswap::OPSWAP_PASS
