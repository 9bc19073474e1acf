// Attention of a few rows of queries, as decoding has: keys are wgmma's first operand and the rows its second one,
// which may be as few as 8, so that no row of what is multiplied is padding. Each of two warpgroups takes 64 keys of a
// tile through a softmax of its own, and their states are put together at the end. Scores and sums lie turned: a thread
// holds two keys, or features, of two rows out of eight.
//
//   template <int Head, int Rows>
//   __global__ void __launch_bounds__(FewMemory<Head, Rows>::kThreads, 1)
//       my_kernel(const __grid_constant__ AttentionCall<Scalar> call, AttentionParts parts) {
//     using Memory = FewMemory<Head, Rows>;
//     OPSWAP_SMEM(Memory, s);
//     run_few<kType>(s, call, parts);
//   }
//
// Blocks along x are the bins of a plan (attention_plan.h), those along y tiles of `Rows` rows of the heads of keys.
#pragma once

#include "common/device/attention_ring.h"
#include "common/device/attention_split.h"
#include "common/sm90/matrix.h"
#include "common/sm90/room.h"

namespace opswap {

template <int Head, int Rows>
struct FewMemory : AttentionRing<Head, 2> {
  static constexpr int kRows = Rows, kGroupKeys = AttentionRing<Head, 2>::kKeys / 2, kWarps = 4;
  static constexpr int kRowFloats = Head + 4;  // of a row of sums, so that neighbouring rows use other banks
  alignas(1024) unsigned char query[AttentionRing<Head, 2>::kBoxes][Rows * kBoxRowBytes];
  alignas(1024) unsigned char probabilities[2][Rows * kBoxRowBytes];  // of a warpgroup: a row's 64 keys
  alignas(16) float sums[Rows * kRowFloats];
  float most[2][kWarps][Rows], total[2][kWarps][Rows];
};

// A block's part of a sequence: `tiles` tiles of keys from the first one on, and the partial row, or -1 where it has
// all of them.
struct FewTask : AttentionTask {
  int first_tile, tiles, partial;
};

// What a thread keeps of a softmax: of rows 8 * i + lane % 4 * 2 and the next, in turn.
template <int Rows>
struct FewSoftmax {
  float most[Rows / 4], total[Rows / 4];
  OPSWAP_DEVICE FewSoftmax() {
#pragma unroll
    for (int i = 0; i < Rows / 4; ++i) most[i] = -INFINITY, total[i] = 0;
  }
};

// Place i of a thread's: the row, and of two the key or feature that stands at i of four.
OPSWAP_DEVICE int few_row(int i, int lane) { return i / 2 * 8 + lane % kRowLanes * 2 + i % 2; }

// Over the 8 lanes that hold the same rows.
template <class Fold>
OPSWAP_DEVICE float over_keys(float x, Fold fold) {
#pragma unroll
  for (int distance = kRowLanes; distance < device::kWarp; distance *= 2)
    x = fold(x, __shfl_xor_sync(device::kAllLanes, x, distance));
  return x;
}

// All rows of queries, those beyond the task's zeros.
template <class Memory, class T>
OPSWAP_DEVICE void load_few_queries(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int thread) {
  constexpr int kPieces = Memory::kHead * int(sizeof(T)) / kPieceBytes;
  for (int i = thread; i < Memory::kRows * kPieces; i += Memory::kMultiplying) {
    const int row = i / kPieces, piece = i % kPieces;
    const bool there = row < task.rows;
    const T *from = call.query.data + (there ? place_of(call, call.query, task, row) : 0);
    sm90::cp_async<16>(s.query[0] + swizzled(Memory::kRows, row, piece), from + piece * (kPieceBytes / int(sizeof(T))),
                       there ? 16 : 0);
  }
  sm90::cp_async_commit();
  sm90::cp_async_wait();
  sm90::fence_async_proxy();
  sm90::barrier_sync(3, Memory::kMultiplying);
}

// scores = keys * queries^T, 64 keys of the warpgroup by all rows.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_few_keys(Memory &s, float (&scores)[Memory::kRows / 2], int group, int stage) {
  sm90::operand_fence(scores);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kHead / 16; ++i) {
    const int box = i / 4, byte = i % 4 * 32;
    const uint64_t a = sm90::matrix_descriptor(s.keys[stage][box] + group * Memory::kGroupKeys * kBoxRowBytes + byte,
                                               sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
    const uint64_t b = sm90::matrix_descriptor(s.query[box] + byte, sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
    sm90::wgmma<Memory::kRows, Type>(scores, a, b, i > 0);
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait();
  sm90::operand_fence(scores);
}

// sums += values^T * probabilities^T, all features by all rows; features lie side by side in memory.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_few_values(Memory &s, float (&sums)[Memory::kBoxes][Memory::kRows / 2], int group,
                                       int stage) {
#pragma unroll
  for (int box = 0; box < Memory::kBoxes; ++box) sm90::operand_fence(sums[box]);
  sm90::wgmma_fence();
#pragma unroll
  for (int box = 0; box < Memory::kBoxes; ++box)
#pragma unroll
    for (int i = 0; i < Memory::kGroupKeys / 16; ++i) {
      const uint64_t a =
          sm90::matrix_descriptor(s.values[stage][box] + (group * Memory::kGroupKeys + i * 16) * kBoxRowBytes,
                                  sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes, Memory::kKeys * kBoxRowBytes);
      const uint64_t b =
          sm90::matrix_descriptor(s.probabilities[group] + i * 32, sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
      sm90::wgmma<Memory::kRows, Type, Type, sm90::Major::mn, sm90::Major::k>(sums[box], a, b);
    }
  sm90::wgmma_commit();
  sm90::wgmma_wait();
#pragma unroll
  for (int box = 0; box < Memory::kBoxes; ++box) sm90::operand_fence(sums[box]);
}

// Scores become probabilities, relative to the largest one that the warpgroup has met in a row; `shrink` is what sums
// of earlier tiles are multiplied by.
template <class Memory>
OPSWAP_DEVICE void take_few(Memory &s, FewSoftmax<Memory::kRows> &softmax, float (&scores)[Memory::kRows / 2],
                            float (&shrink)[Memory::kRows / 4], int group, int warp, int lane) {
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    const float here = over_keys(fmaxf(scores[i / 2 * 4 + i % 2], scores[i / 2 * 4 + i % 2 + 2]),
                                 [](float a, float b) { return fmaxf(a, b); });
    if (lane < kRowLanes) store_shared(&s.most[group][warp][few_row(i, lane)], Vec<float, 1>{{here}});
  }
  sm90::barrier_sync(1 + uint32_t(group), device::kWarpgroup);
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    float now = softmax.most[i];
#pragma unroll
    for (int w = 0; w < Memory::kWarps; ++w) now = fmaxf(now, load_shared<1>(&s.most[group][w][few_row(i, lane)])[0]);
    const float from = now == -INFINITY ? 0 : now;  // where nothing was seen yet
    shrink[i] = sm90::exp2_approx(softmax.most[i] - from);
    softmax.most[i] = now;
    float &first = scores[i / 2 * 4 + i % 2], &second = scores[i / 2 * 4 + i % 2 + 2];
    first = sm90::exp2_approx(first - from), second = sm90::exp2_approx(second - from);
    softmax.total[i] = softmax.total[i] * shrink[i] + first + second;
  }
}

// A warp's 16 keys of probabilities to where wgmma reads them: a row's keys side by side.
template <class T, class Memory>
OPSWAP_DEVICE void put_few(Memory &s, const float (&p)[Memory::kRows / 2], int group, int warp, int lane) {
#pragma unroll
  for (int i = 0; i < Memory::kRows / 8; ++i) {
    uint32_t words[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Vec<T, 2> pair = from_float<T>(Vec<float, 2>{{p[i * 4 + half * 2], p[i * 4 + half * 2 + 1]}});
      memcpy(&words[half], &pair, 4);
    }
    const int row = i * 8 + lane % 8, piece = warp * 2 + lane / 8 % 2;
    sm90::stmatrix<true>(s.probabilities[group] + swizzled(Memory::kRows, row, piece), words);
  }
  sm90::fence_async_proxy();
  sm90::barrier_sync(1 + uint32_t(group), device::kWarpgroup);
}

// The state of a warpgroup: of each row the largest score and the total, the same for all who hold it.
template <class Memory>
OPSWAP_DEVICE void total_few(Memory &s, FewSoftmax<Memory::kRows> &softmax, int group, int warp, int lane) {
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    const float here = over_keys(softmax.total[i], Sum{});
    if (lane < kRowLanes) {
      store_shared(&s.total[group][warp][few_row(i, lane)], Vec<float, 1>{{here}});
      if (warp == 0) store_shared(&s.most[group][0][few_row(i, lane)], Vec<float, 1>{{softmax.most[i]}});
    }
  }
}

// Of a row, from both warpgroups: what each one's sums are multiplied by, and the log-sum-exp.
struct FewShares {
  float of[2], lse;
};
template <class Memory>
OPSWAP_DEVICE FewShares few_shares(Memory &s, int row) {
  float most[2], total[2] = {0, 0};
#pragma unroll
  for (int group = 0; group < 2; ++group) {
    most[group] = load_shared<1>(&s.most[group][0][row])[0];
#pragma unroll
    for (int w = 0; w < Memory::kWarps; ++w) total[group] += load_shared<1>(&s.total[group][w][row])[0];
  }
  const float largest = fmaxf(most[0], most[1]), from = largest == -INFINITY ? 0 : largest;
  const float first = sm90::exp2_approx(most[0] - from), second = sm90::exp2_approx(most[1] - from);
  const float all = total[0] * first + total[1] * second, share = all == 0 ? 0 : 1 / all;
  return {{first * share, second * share}, all == 0 ? -INFINITY : largest * kLn2 + logf(all)};
}

// Both warpgroups' sums, put together in shared memory, as rows of out or of a part.
template <class Memory, class T>
OPSWAP_DEVICE void write_few(Memory &s, const AttentionCall<T> &call, const AttentionParts &parts, const FewTask &task,
                             const float (&sums)[Memory::kBoxes][Memory::kRows / 2], int group, int thread) {
  const int lane = thread % device::kWarp, warp = thread % device::kWarpgroup / device::kWarp;
  const auto each = [&](auto &&use) {
#pragma unroll
    for (int box = 0; box < Memory::kBoxes; ++box)
#pragma unroll
      for (int i = 0; i < Memory::kRows / 2; ++i) {
        const int row = i / 4 * 8 + lane % kRowLanes * 2 + i % 2;
        const int feature = box * kBoxElements + warp * 16 + lane / kRowLanes + i / 2 % 2 * 8;
        use(row, s.sums + row * Memory::kRowFloats + feature, sums[box][i]);
      }
  };
  sm90::barrier_sync(3, Memory::kMultiplying);  // totals are there
  if (group == 1)
    each([&](int row, float *at, float sum) { store_shared(at, Vec<float, 1>{{sum * few_shares(s, row).of[1]}}); });
  sm90::barrier_sync(3, Memory::kMultiplying);
  if (group == 0)
    each([&](int row, float *at, float sum) {
      store_shared(at, Vec<float, 1>{{load_shared<1>(at)[0] + sum * few_shares(s, row).of[0]}});
    });
  sm90::barrier_sync(3, Memory::kMultiplying);
  constexpr int kRuns = Memory::kHead / 4;
  for (int i = thread; i < task.rows * kRuns; i += Memory::kMultiplying) {
    const int row = i / kRuns, at = i % kRuns * 4;
    const Vec<float, 4> x = load_shared<4>(s.sums + row * Memory::kRowFloats + at);
    const int64_t partial = int64_t(task.partial) * parts.heads + task.kv_head * call.group + task.first_row + row;
    if (task.partial < 0)
      store(call.out.data + place_of(call, call.out, task, row) + at, from_float<T>(x));
    else
      store(parts.sums + partial * Memory::kHead + at, x);
    float *const lse = task.partial >= 0 ? parts.lse + partial
                       : call.lse.data   ? call.lse.data + place_of(call, call.lse, task, row)
                                         : nullptr;
    if (lse && at == 0) store(lse, Vec<float, 1>{{few_shares(s, row).lse}});
  }
}

// `before`: tiles that the block has had in the ring.
template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend_few(Memory &s, const AttentionCall<T> &call, const AttentionParts &parts, const FewTask &task,
                              int before, int thread) {
  const int lane = thread % device::kWarp, group = thread / device::kWarpgroup;
  const int warp = thread % device::kWarpgroup / device::kWarp;
  load_few_queries(s, call, task, thread);
  float sums[Memory::kBoxes][Memory::kRows / 2] = {};
  FewSoftmax<Memory::kRows> softmax;
  for (int tile = 0; tile < task.tiles; ++tile) {
    const int count = before + tile, stage = count % Memory::kStages;
    const uint32_t phase = uint32_t(count / Memory::kStages) & 1;
    float scores[Memory::kRows / 2], shrink[Memory::kRows / 4];
    sm90::mbarrier_wait(s.full_keys[stage], phase);
    multiply_few_keys<Type>(s, scores, group, stage);
    if (lane == 0) sm90::mbarrier_arrive(s.empty_keys[stage]);
    scale_scores(scores, call.softmax_scale, call.softcap);
    const int key =
        (task.first_tile + tile) * Memory::kKeys + group * Memory::kGroupKeys + warp * 16 + lane / kRowLanes;
#pragma unroll
    for (int i = 0; i < Memory::kRows / 2; ++i) {
      const int own = key + i / 2 % 2 * 8;
      if (own < task.first_key || own >= task.last_key) scores[i] = -INFINITY;
    }
    take_few(s, softmax, scores, shrink, group, warp, lane);
    put_few<T>(s, scores, group, warp, lane);
#pragma unroll
    for (int box = 0; box < Memory::kBoxes; ++box)
#pragma unroll
      for (int i = 0; i < Memory::kRows / 2; ++i) sums[box][i] *= shrink[i / 4 * 2 + i % 2];
    sm90::mbarrier_wait(s.full_values[stage], phase);
    multiply_few_values<Type>(s, sums, group, stage);
    if (lane == 0) sm90::mbarrier_arrive(s.empty_values[stage]);
  }
  total_few(s, softmax, group, warp, lane);
  write_few(s, call, parts, task, sums, group, thread);
}

// The part of sequence `sequence` that lies between two places of a plan.
template <class Memory, class T>
OPSWAP_DEVICE FewTask few_task(const AttentionCall<T> &call, const AttentionParts &parts, int sequence,
                               const attention::Place &begin, const attention::Place &end) {
  const int row_tiles = (call.group + Memory::kRows - 1) / Memory::kRows, tile = int(blockIdx.y) % row_tiles;
  FewTask task{};
  task.sequence = task.first_token = sequence, task.kv_head = int(blockIdx.y) / row_tiles;
  task.first_row = tile * Memory::kRows;
  task.rows = call.group - task.first_row < Memory::kRows ? call.group - task.first_row : Memory::kRows;
  task.length = call.seq_lens[sequence], task.position = task.length - 1;
  const SeenKeys keys = seen_keys(call, task.position, task.length);
  const int all = tiles_of<Memory::kKeys>(call, sequence);
  const int first = sequence == begin.sequence ? begin.tile : 0, last = sequence == end.sequence ? end.tile : all;
  task.first_key = keys.first, task.last_key = keys.last;
  task.first_tile = keys.first / Memory::kKeys + first, task.tiles = last - first;
  const bool cut = first > 0 || last < all;
  task.partial = cut ? parts.rows_before(sequence) + (sequence == begin.sequence ? begin.part : 0) : -1;
  return task;
}

template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void run_few(Memory &s, const AttentionCall<T> &call, const AttentionParts &parts) {
  const int thread = int(threadIdx.x);
  if (thread == 0) attention_ring_init(s);
  __syncthreads();
  sm90::dependency_wait();
  sm90::dependency_trigger();
  const attention::Place begin = parts.place(int(blockIdx.x)), end = parts.place(int(blockIdx.x) + 1);
  int before = 0;
  for (int i = begin.sequence; i < end.sequence + (end.tile > 0); ++i) {
    const FewTask task = few_task<Memory>(call, parts, i, begin, end);
    if (thread >= Memory::kMultiplying)
      load_tiles(s, call, task, task.first_tile, task.tiles, before, thread - Memory::kMultiplying);
    else
      attend_few<Type>(s, call, parts, task, before, thread);
    before += task.tiles;
  }
}

}  // namespace opswap
