// The body that attention of many rows of queries over a paged cache shares on sm_90a: a warpgroup gathers keys and
// values into a ring, the others take 64 rows of queries each through all of them.
//
//   template <int Head, int Groups>
//   __global__ void __launch_bounds__(AttentionMemory<Head, Groups>::kThreads, 1)
//       my_kernel(const __grid_constant__ AttentionCall<Scalar> call) {
//     using Memory = AttentionMemory<Head, Groups>;
//     OPSWAP_SMEM(Memory, s);
//     run_attention<kType>(s, call);
//   }
//
// Blocks along x are tiles of rows, of which there may be fewer; those along y are heads of keys.
#pragma once

#include "common/device/attention_call.h"
#include "common/device/attention_ring.h"
#include "common/device/attention_softmax.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap {

// s = queries * keys^T, 64 rows of the warpgroup by a tile of keys.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_keys(Memory &s, float (&scores)[Memory::kKeys / 2], int group, int stage) {
  sm90::operand_fence(scores);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kHead / 16; ++i) {
    const int box = i / 4, byte = i % 4 * 32;
    const uint64_t a = sm90::matrix_descriptor(s.query[box] + group * 64 * kBoxRowBytes + byte,
                                               sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
    const uint64_t b = sm90::matrix_descriptor(s.keys[stage][box] + byte, sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
    sm90::wgmma<Memory::kKeys, Type>(scores, a, b, i > 0);
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait();
  sm90::operand_fence(scores);
}

// sums += probabilities * values, of which neighbouring features lie side by side.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_values(Memory &s, float (&sums)[Memory::kHead / 2], uint32_t (&p)[Memory::kKeys / 16][4],
                                   int stage) {
  sm90::operand_fence(sums);
#pragma unroll
  for (int i = 0; i < Memory::kKeys / 16; ++i) sm90::operand_fence(p[i]);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kKeys / 16; ++i) {
    const uint64_t b = sm90::matrix_descriptor(s.values[stage][0] + i * 16 * kBoxRowBytes, sm90::MatrixSwizzle::b128,
                                               8 * kBoxRowBytes, Memory::kKeys * kBoxRowBytes);
    sm90::wgmma<Memory::kHead, Type, Type, sm90::Major::k, sm90::Major::mn>(sums, p[i], b);
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait();
  sm90::operand_fence(sums);
}

// A warpgroup's rows of out, and their log-sum-exp.
template <class Memory, class T>
OPSWAP_DEVICE void write_attention(const AttentionCall<T> &call, const AttentionTask &task, SoftmaxRows &softmax,
                                   const float (&sums)[Memory::kHead / 2], int thread) {
  const int lane = thread % device::kWarp, first = thread / device::kWarp * 16 + lane / kRowLanes;
  softmax.put_together();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = first + 8 * r;
    if (row >= task.rows) continue;
    const float share = softmax.total[r] == 0 ? 0 : 1 / softmax.total[r];
    T *const out = call.out.data + place_of(call, call.out, task, row) + lane % kRowLanes * 2;
#pragma unroll
    for (int i = 0; i < Memory::kHead / 2; i += 4)
      store(out + i * 2, from_float<T>(Vec<float, 2>{{sums[i + 2 * r] * share, sums[i + 2 * r + 1] * share}}));
    if (call.lse.data && lane % kRowLanes == 0)
      store(call.lse.data + place_of(call, call.lse, task, row), Vec<float, 1>{{softmax.lse(r)}});
  }
}

template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int thread) {
  const int lane = thread % device::kWarp, group = thread / device::kWarpgroup;
  const int first_row = thread / device::kWarp * 16 + lane / kRowLanes;
  load_queries(s, call, task, thread);
  SeenKeys seen[2];
#pragma unroll
  for (int r = 0; r < 2; ++r)
    seen[r] = seen_keys(call, task.position + (task.first_row + first_row + 8 * r) / call.group, task.length);
  float sums[Memory::kHead / 2] = {};
  SoftmaxRows softmax;
  const int first = task.first_key / Memory::kKeys, end = (task.last_key + Memory::kKeys - 1) / Memory::kKeys;
  for (int tile = first; tile < end; ++tile) {
    const int count = tile - first, stage = count % Memory::kStages, key = tile * Memory::kKeys;
    const uint32_t phase = uint32_t(count / Memory::kStages) & 1;
    float scores[Memory::kKeys / 2];
    sm90::mbarrier_wait(s.full_keys[stage], phase);
    multiply_keys<Type>(s, scores, group, stage);
    if (lane == 0) sm90::mbarrier_arrive(s.empty_keys[stage]);
    scale_scores(scores, call.softmax_scale, call.softcap);
    const SeenColumns columns[2] = {{seen[0].first - key, seen[0].last - key},
                                    {seen[1].first - key, seen[1].last - key}};
    hide_scores(scores, columns, lane);
    float shrink[2];
    softmax.take(scores, shrink);
#pragma unroll
    for (int i = 0; i < Memory::kHead / 2; ++i) sums[i] *= shrink[i / 2 % 2];
    uint32_t p[Memory::kKeys / 16][4];
    pack_probabilities<T>(p, scores);
    sm90::mbarrier_wait(s.full_values[stage], phase);
    multiply_values<Type>(s, sums, p, stage);
    if (lane == 0) sm90::mbarrier_arrive(s.empty_values[stage]);
  }
  write_attention<Memory>(call, task, softmax, sums, thread);
}

template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void run_attention(Memory &s, const AttentionCall<T> &call) {
  const int thread = int(threadIdx.x);
  if (thread == 0) attention_ring_init(s);
  __syncthreads();
  sm90::dependency_wait();
  sm90::dependency_trigger();
  const AttentionTask task = attention_task<Memory::kRows>(call, int(blockIdx.x), int(blockIdx.y));
  if (!task.rows) return;
  // Those who load leave registers to those who multiply; each has 168 at first.
  if (thread >= Memory::kMultiplying) {
    sm90::registers_shrink<72>();
    const int first = task.first_key / Memory::kKeys, end = (task.last_key + Memory::kKeys - 1) / Memory::kKeys;
    load_tiles(s, call, task, first, end > first ? end - first : 0, 0, thread - Memory::kMultiplying);
  } else {
    sm90::registers_grow<216>();
    attend<Type>(s, call, task, thread);
  }
}

// kernel_of<Head, Groups>() is the room's kernel; `tiles` are of 64 * Groups rows.
template <int Head, int Groups, class T, class Kernels>
static opswap_status launch_attention(const opswap_exec &exec, const char *name, int64_t tiles, int64_t kv_heads,
                                      const AttentionCall<T> &call, Kernels &&kernel_of) {
  using Memory = AttentionMemory<Head, Groups>;
  const Geometry geometry{.grid = {tiles, kv_heads}, .block = {Memory::kThreads}, .smem = sizeof(Memory), .pdl = true};
  return launch(exec, name, kernel_of.template operator()<Head, Groups>(), geometry, call);
}

// A call whose sequences have any number of tokens each; every sequence may leave one tile that is not full.
template <class T, class Args, class Kernels>
static opswap_status launch_sequences(const Args &a, const opswap_exec &exec, const char *name, Kernels &&kernel_of) {
  if (!a.T || !a.QH) return OPSWAP_OK;
  AttentionCall<T> call = attention_call<T>(a);
  call.query_start_loc = counts_of(a.query_start_loc);
  call.causal = a.causal;
  const int64_t tiles = a.T * call.group / 128 + a.B;
  return a.D == 64 ? launch_attention<64, 2>(exec, name, tiles, a.KH, call, kernel_of)
                   : launch_attention<128, 2>(exec, name, tiles, a.KH, call, kernel_of);
}

}  // namespace opswap
