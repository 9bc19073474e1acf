// Attention of a few rows of queries, as decoding has: keys are wgmma's first operand and the rows its second one,
// which may be as few as 8, so that no row of what is multiplied is padding. Each of two warpgroups takes 64 keys of a
// tile through a softmax of its own, and their states are put together at the end. Scores and sums lie turned: a thread
// holds two keys, or features, of two rows out of eight.
// Blocks along x are the bins of a plan (attention_plan.h), those along y tiles of `Rows` rows of the heads of keys.
#pragma once

#include "common/device/attention_ring.h"
#include "common/device/attention_split.h"
#include "common/sm90/matrix.h"

namespace opswap {

// A head of 256 features leaves room for one warpgroup's keys.
template <int Head>
inline constexpr int kFewGroups = Head <= 128 ? 2 : 1;

template <int Head, int Rows>
struct FewMemory : AttentionRing<Head, Head, kFewGroups<Head>, 64 * kFewGroups<Head>> {
  static constexpr int kRows = Rows, kGroupKeys = 64, kWarps = 4;
  static constexpr int kRowFloats = Head + 4;  // of a row of sums, so that neighbouring rows use other banks
  alignas(1024) unsigned char query[Head / kBoxElements][Rows * kBoxRowBytes];
  alignas(1024) unsigned char probabilities[kFewGroups<Head>][Rows * kBoxRowBytes];  // of a warpgroup: a row's 64 keys
  alignas(16) float sums[Rows * kRowFloats];
  float most[kFewGroups<Head>][kWarps][Rows], total[kFewGroups<Head>][kWarps][Rows];
};

// A block's part of a sequence: `tiles` tiles of keys from key `first` on, and the number of the part, or -1 where it
// has all of them.
struct FewTask : AttentionTask {
  int first, tiles, partial;
};

// Below any score, and finite, so that no difference of two is NaN before a key was seen.
inline constexpr float kLeastScore = -1e30f;

// What a thread keeps of a softmax, the largest not yet times the scale: of rows 8 * i + lane % 4 * 2 and the next, in
// turn.
template <int Rows>
struct FewSoftmax {
  float most[Rows / 4], total[Rows / 4];
  OPSWAP_DEVICE FewSoftmax() {
#pragma unroll
    for (int i = 0; i < Rows / 4; ++i) most[i] = kLeastScore, total[i] = 0;
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

// scores = keys * queries^T, 64 keys of the warpgroup by all rows.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_few_keys(Memory &s, float (&scores)[Memory::kRows / 2], int group, int stage) {
  const uint64_t a = sm90::matrix_descriptor(s.keys[stage][0] + group * Memory::kGroupKeys * kBoxRowBytes,
                                             sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
  const uint64_t b = sm90::matrix_descriptor(s.query[0], sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
  sm90::operand_fence(scores);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kHead / 16; ++i) {
    const uint32_t box = uint32_t(i) / 4 * kBoxRowBytes, byte = uint32_t(i) % 4 * 32;
    sm90::wgmma<Memory::kRows, Type>(scores, moved(a, box * Memory::kKeys + byte),
                                     sm90::advance(b, box * Memory::kRows + byte), i > 0);
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait();
  sm90::operand_fence(scores);
}

// sums += values^T * probabilities^T, all features by all rows; features lie side by side in memory.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_few_values(Memory &s, float (&sums)[Memory::kBoxes][Memory::kRows / 2], int group,
                                       int stage) {
  const uint64_t a = sm90::matrix_descriptor(s.values[stage][0] + group * Memory::kGroupKeys * kBoxRowBytes,
                                             sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes, Memory::kKeys * kBoxRowBytes);
  const uint64_t b = sm90::matrix_descriptor(s.probabilities[group], sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
#pragma unroll
  for (int box = 0; box < Memory::kBoxes; ++box) sm90::operand_fence(sums[box]);
  sm90::wgmma_fence();
#pragma unroll
  for (int box = 0; box < Memory::kBoxes; ++box)
#pragma unroll
    for (int i = 0; i < Memory::kGroupKeys / 16; ++i)
      sm90::wgmma<Memory::kRows, Type, Type, sm90::Major::mn, sm90::Major::k>(
          sums[box], moved(a, uint32_t(box * Memory::kKeys + i * 16) * kBoxRowBytes), moved(b, uint32_t(i) * 32));
  sm90::wgmma_commit();
  sm90::wgmma_wait();
#pragma unroll
  for (int box = 0; box < Memory::kBoxes; ++box) sm90::operand_fence(sums[box]);
}

// Scores become probabilities, relative to the largest one that the warpgroup has met in a row; `shrink` is what sums
// of earlier tiles are multiplied by.
template <class Memory>
OPSWAP_DEVICE void take_few(Memory &s, FewSoftmax<Memory::kRows> &softmax, float (&scores)[Memory::kRows / 2],
                            float (&shrink)[Memory::kRows / 4], float scale, int group, int warp, int lane) {
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    const float here = over_keys(fmaxf(scores[i / 2 * 4 + i % 2], scores[i / 2 * 4 + i % 2 + 2]),
                                 [](float a, float b) { return fmaxf(a, b); });
    if (lane < kRowLanes) store_shared(&s.most[group][warp][few_row(i, lane)], Vec<float, 1>{{here}});
  }
  sm90::barrier_sync(kGroupBarrier + uint32_t(group), device::kWarpgroup);
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    float now = softmax.most[i];
#pragma unroll
    for (int w = 0; w < Memory::kWarps; ++w) now = fmaxf(now, load_shared<1>(&s.most[group][w][few_row(i, lane)])[0]);
    const float from = now * scale;
    shrink[i] = sm90::exp2_approx(softmax.most[i] * scale - from);
    softmax.most[i] = now;
    float &first = scores[i / 2 * 4 + i % 2], &second = scores[i / 2 * 4 + i % 2 + 2];
    first = sm90::exp2_approx(fmaf(first, scale, -from)), second = sm90::exp2_approx(fmaf(second, scale, -from));
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
  sm90::barrier_sync(kGroupBarrier + uint32_t(group), device::kWarpgroup);
}

// The state of a warpgroup: of each row the largest score and the total, the same for all who hold it.
template <class Memory>
OPSWAP_DEVICE void total_few(Memory &s, FewSoftmax<Memory::kRows> &softmax, float scale, int group, int warp,
                             int lane) {
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    const float here = over_keys(softmax.total[i], Sum{});
    if (lane < kRowLanes) {
      store_shared(&s.total[group][warp][few_row(i, lane)], Vec<float, 1>{{here}});
      if (warp == 0) store_shared(&s.most[group][0][few_row(i, lane)], Vec<float, 1>{{softmax.most[i] * scale}});
    }
  }
}

// Of a row, from all warpgroups: what each one's sums are multiplied by, and the log-sum-exp. `sink` is a score as it
// is, or -inf.
template <int Groups>
struct FewShares {
  float of[Groups], lse;
};
template <class Memory>
OPSWAP_DEVICE FewShares<Memory::kGroups> few_shares(Memory &s, int row, float sink) {
  float most[Memory::kGroups], total[Memory::kGroups] = {}, largest = sink * kLog2E;
#pragma unroll
  for (int group = 0; group < Memory::kGroups; ++group) {
    most[group] = load_shared<1>(&s.most[group][0][row])[0];
    largest = fmaxf(largest, most[group]);
#pragma unroll
    for (int w = 0; w < Memory::kWarps; ++w) total[group] += load_shared<1>(&s.total[group][w][row])[0];
  }
  const float from = largest == -INFINITY ? 0 : largest;
  FewShares<Memory::kGroups> shares;
  float all = sm90::exp2_approx(sink * kLog2E - from);
#pragma unroll
  for (int group = 0; group < Memory::kGroups; ++group) {
    shares.of[group] = sm90::exp2_approx(most[group] - from);
    all += total[group] * shares.of[group];
  }
#pragma unroll
  for (int group = 0; group < Memory::kGroups; ++group) shares.of[group] *= all == 0 ? 0 : 1 / all;
  shares.lse = all == 0 ? -INFINITY : largest * kLn2 + logf(all);
  return shares;
}

// All warpgroups' sums, put together in shared memory, as rows of out or of a part.
template <class Memory, class T>
OPSWAP_DEVICE void write_few(Memory &s, const AttentionCall<T> &call, const AttentionParts &parts, const FewTask &task,
                             const float (&sums)[Memory::kBoxes][Memory::kRows / 2], int group, int thread) {
  const int lane = thread % device::kWarp, warp = thread % device::kWarpgroup / device::kWarp;
  const auto sink_of = [&](int row) {  // where the whole row is here; else it is counted with the parts
    return task.partial < 0 && row < task.rows ? call.sinks.at(head_of(call, task, row), -INFINITY) : -INFINITY;
  };
  sm90::barrier_sync(kMultiplyingBarrier, Memory::kMultiplying);  // totals are there
#pragma unroll
  for (int turn = Memory::kGroups - 1; turn >= 0; --turn) {
    if (group == turn)
#pragma unroll
      for (int i = 0; i < Memory::kRows / 2; ++i) {
        const int row = i / 4 * 8 + lane % kRowLanes * 2 + i % 2;
        const float share = few_shares(s, row, sink_of(row)).of[turn];
#pragma unroll
        for (int box = 0; box < Memory::kBoxes; ++box) {
          const int feature = box * kBoxElements + warp * 16 + lane / kRowLanes + i / 2 % 2 * 8;
          float *const at = s.sums + row * Memory::kRowFloats + feature;
          const float before = turn < Memory::kGroups - 1 ? load_shared<1>(at)[0] : 0;
          store_shared(at, Vec<float, 1>{{before + sums[box][i] * share}});
        }
      }
    sm90::barrier_sync(kMultiplyingBarrier, Memory::kMultiplying);
  }
  constexpr int kRuns = Memory::kHead / 4;
  const float value_scale = call.v_scale.at(task.kv_head, 1);
  for (int i = thread; i < task.rows * kRuns; i += Memory::kMultiplying) {
    const int row = i / kRuns, at = i % kRuns * 4;
    Vec<float, 4> x = load_shared<4>(s.sums + row * Memory::kRowFloats + at);
#pragma unroll
    for (int k = 0; k < 4; ++k) x[k] *= value_scale;
    const float own_lse = few_shares(s, row, sink_of(row)).lse;
    if (task.partial >= 0) {
      const int64_t partial = parts.row(task.partial, call, task, row);
      store(parts.sums + partial * Memory::kHead + at, x);
      if (at == 0) store(parts.lse + partial, Vec<float, 1>{{own_lse}});
      continue;
    }
    const TokenHead to = token_head(call, task, row);
    const JoinedStates joined(call, to, own_lse);
    if (at < call.value_features) store_row(call, to, at, joined_row(call, to, at, joined, x));
    if (call.lse.data && at == 0) store(call.lse.data + to.in(call.lse), Vec<float, 1>{{joined.lse}});
  }
}

// Each of a thread's two keys' times a factor of its own.
template <int Held>
OPSWAP_DEVICE void scale_few_keys(float (&s)[Held], const float *factors) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float by = load_shared<1>(factors + half * 8)[0];
#pragma unroll
    for (int i = half * 2; i < Held; i += 4) s[i] *= by, s[i + 1] *= by;
  }
}

// Scores of a tile that begins at `key`, as powers of two unless they are `plain`; those of keys that a row does not
// see -inf.
template <class Memory, class T>
OPSWAP_DEVICE void scale_few(Memory &s, float (&scores)[Memory::kRows / 2], const AttentionCall<T> &call,
                             const SeenKeys (&seen)[Memory::kRows / 4], float scale, bool plain, int key, int stage,
                             int own) {
  if (call.key_scales.data) scale_few_keys(scores, s.key_scales[stage] + own);
  if (!plain) scale_scores(scores, scale, call.softcap);
#pragma unroll
  for (int i = 0; i < Memory::kRows / 2; ++i) {
    const int at = key + own + i / 2 % 2 * 8;
    const SeenKeys &of = seen[i / 4 * 2 + i % 2];
    if (at < of.first || at >= of.last) scores[i] = -INFINITY;
  }
}

// `before`: tiles that the block has had in the ring.
template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend_few(Memory &s, const AttentionCall<T> &call, const AttentionParts &parts, const FewTask &task,
                              int before, int thread) {
  const int lane = thread % device::kWarp, group = thread / device::kWarpgroup;
  const int warp = thread % device::kWarpgroup / device::kWarp;
  const int own = group * Memory::kGroupKeys + warp * 16 + lane / kRowLanes;  // of a tile's keys, and that + 8
  load_queries(s, call, task, 0, Memory::kRows, thread, Memory::kMultiplying, kMultiplyingBarrier);
  const float scale = call.softmax_scale * call.k_scale.at(task.kv_head, 1);
  const bool plain = call.softcap <= 0 && scale > 0;  // the exponential multiplies by the scale
  SeenKeys seen[Memory::kRows / 4];
#pragma unroll
  for (int i = 0; i < Memory::kRows / 4; ++i) {
    const SeenKeys of = seen_of_row(call, task, few_row(i, lane));
    seen[i] = {of.first > task.first_key ? of.first : task.first_key,
               of.last < task.last_key ? of.last : task.last_key};
  }
  float sums[Memory::kBoxes][Memory::kRows / 2] = {};
  FewSoftmax<Memory::kRows> softmax;
  for (int tile = 0; tile < task.tiles; ++tile) {
    const uint32_t count = uint32_t(before + tile), phase = count / Memory::kStages & 1;
    const int stage = int(count % Memory::kStages);
    float scores[Memory::kRows / 2], shrink[Memory::kRows / 4];
    sm90::mbarrier_wait(s.full_keys[stage], phase);
    multiply_few_keys<Type>(s, scores, group, stage);
    scale_few(s, scores, call, seen, scale, plain, task.first + tile * Memory::kKeys, stage, own);
    __syncwarp();  // all lanes have read their scales
    if (lane == 0) sm90::mbarrier_arrive(s.empty_keys[stage]);
    take_few(s, softmax, scores, shrink, plain ? scale * kLog2E : 1, group, warp, lane);
    sm90::mbarrier_wait(s.full_values[stage], phase);
    if (call.value_scales.data) scale_few_keys(scores, s.value_scales[stage] + own);
    put_few<T>(s, scores, group, warp, lane);
#pragma unroll
    for (int box = 0; box < Memory::kBoxes; ++box)
#pragma unroll
      for (int i = 0; i < Memory::kRows / 2; ++i) sums[box][i] *= shrink[i / 4 * 2 + i % 2];
    multiply_few_values<Type>(s, sums, group, stage);
    if (lane == 0) sm90::mbarrier_arrive(s.empty_values[stage]);
  }
  total_few(s, softmax, plain ? scale * kLog2E : 1, group, warp, lane);
  write_few(s, call, parts, task, sums, group, thread);
}

// The part of sequence `sequence` that lies between two places of a plan.
template <class Memory, class T>
OPSWAP_DEVICE FewTask few_task(const AttentionCall<T> &call, const AttentionParts &parts, int sequence,
                               const attention::Place &begin, const attention::Place &end) {
  FewTask task{};
  const int tokens = tokens_of(call, sequence, task.first_token);
  const int rows = tokens <= call.few_tokens ? tokens * call.group : 0;
  const int row_tiles = int(gridDim.y) / (parts.heads / call.group), tile = int(blockIdx.y) % row_tiles;
  task.sequence = sequence, task.kv_head = int(blockIdx.y) / row_tiles;
  task.first_row = tile * Memory::kRows;
  task.rows = rows - task.first_row < Memory::kRows ? rows - task.first_row : Memory::kRows;
  if (task.rows <= 0) return task;
  task.length = length_of(call, sequence), task.position = task.length - tokens;
  const int all = int(attention::units_of(task.length, tokens, parts.of(call)));
  const int from = sequence == begin.sequence ? begin.unit : 0, to = sequence == end.sequence ? end.unit : all;
  const int start = seen_keys(call, task.position, task.length).first / attention::kUnitKeys;
  const int first = (start + from) * attention::kUnitKeys, last = (start + to) * attention::kUnitKeys;
  const SeenKeys first_row = seen_of_row(call, task, 0), last_row = seen_of_row(call, task, task.rows - 1);
  task.first = first;
  task.first_key = first_row.first > first ? first_row.first : first;
  task.last_key = last_row.last < last ? last_row.last : last;
  task.tiles = (last - first + Memory::kKeys - 1) / Memory::kKeys;
  const bool cut = from > 0 || to < all;
  task.partial = cut ? parts.rows_before(sequence) + (sequence == begin.sequence ? begin.part : 0) : -1;
  return task;
}

// body(task, tiles before) for each part that a block has.
template <class Memory, class T, class Body>
OPSWAP_DEVICE void each_part(const AttentionCall<T> &call, const AttentionParts &parts, Body &&body) {
  int before = 0;
  for (int bin = int(blockIdx.x); bin < parts.bins(); bin += int(gridDim.x)) {
    const attention::Place begin = parts.place(bin), end = parts.place(bin + 1);
    for (int i = begin.sequence; i < end.sequence + (end.unit > 0); ++i) {
      const FewTask task = few_task<Memory>(call, parts, i, begin, end);
      if (task.rows <= 0) continue;
      body(task, before);
      before += task.tiles;
    }
  }
}

template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void run_few(Memory &s, const AttentionCall<T> &call, const AttentionParts &parts) {
  const int thread = int(threadIdx.x);
  if (thread == 0) attention_ring_init(s, call);
  __syncthreads();
  sm90::dependency_wait();
  sm90::dependency_trigger();
  if (!parts.fits(call)) return;
  if (thread >= Memory::kMultiplying)
    each_part<Memory>(call, parts, [&](const FewTask &task, int before) {
      load_tiles<false>(s, call, task, task.first, task.tiles, before, thread - Memory::kMultiplying);
    });
  else
    each_part<Memory>(call, parts,
                      [&](const FewTask &task, int before) { attend_few<Type>(s, call, parts, task, before, thread); });
}

}  // namespace opswap
