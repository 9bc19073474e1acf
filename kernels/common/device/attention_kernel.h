// The body that attention of many rows of queries shares on sm_90a: a warpgroup brings keys and values to a ring,
// the others take 64 rows of queries each through all of them, from the last tile to the first. While the softmax of a
// tile is worked out, the tensor cores multiply the next tile's keys, the last one's values, or the other warpgroup's.
#pragma once

#include "common/device/attention_ring.h"
#include "common/device/attention_softmax.h"
#include "common/device/attention_tasks.h"
#include "common/sm90/pdl.h"

namespace opswap {

// 64 rows of queries for each of two warpgroups. With `Joins` rows may go to a state, or join that of other keys.
template <int Head, int ValueHead, int Keys, bool Joins = false>
struct AttentionMemory : AttentionRing<Head, ValueHead, 2, Keys> {
  using Softmax = SoftmaxRows;
  static constexpr bool kJoins = Joins;
  static constexpr int kRows = 128, kSteps = Keys / 16;
  // Of a thread that loads and of one that multiplies.
  static constexpr int kLoadingRegisters = Head == 192 ? 104 : Head <= 128 ? 72 : 56;
  static constexpr int kMultiplyingRegisters = Head == 192 ? 200 : Head <= 128 ? 216 : 224;
  alignas(1024) unsigned char query[Head / kBoxElements][kRows * kBoxRowBytes];
};

// The same where rows see all keys, and the call has no codes, scales, softcap or negative scale: what these need is
// left out, and its registers go to larger tiles.
template <int Head, int ValueHead, int Keys>
struct PlainMemory : AttentionMemory<Head, ValueHead, Keys> {
  static constexpr bool kPlain = true;
  static constexpr int kLoadingRegisters = 40, kMultiplyingRegisters = 232;
};

// What a warpgroup knows of its task.
struct AttentionTurn {
  const AttentionTask &task;
  int first, tiles, before;  // first key; tiles, and those that the ring has had
  int group, row, lane;      // the thread's first row, its second one is 8 further on
  float scale;
  uint32_t query = 0, ring = 0;  // of codes: low words of the descriptors of the queries, and of the ring's first keys
};

// s = queries * keys^T, 64 rows of the warpgroup by a tile of keys; not waited for.
template <sm90::MatrixType Type, class Memory>
  requires(!Memory::kCodes)
OPSWAP_DEVICE void start_keys(Memory &s, float (&scores)[Memory::kKeys / 2], const AttentionTurn &turn, int stage) {
  const uint64_t b = sm90::matrix_descriptor(s.keys[stage][0], sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
  sm90::operand_fence(scores);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kHead / 16; ++i) {
    const int box = i / 4, byte = i % 4 * 32;
    const uint64_t a = sm90::matrix_descriptor(s.query[box] + turn.group * 64 * kBoxRowBytes + byte,
                                               sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes);
    sm90::wgmma<Memory::kKeys, Type>(scores, a, sm90::advance(b, uint32_t(box * Memory::kKeys * kBoxRowBytes + byte)),
                                     i > 0);
  }
  sm90::wgmma_commit();
}

// sums += probabilities * values, of which neighbouring features lie side by side; not waited for.
template <sm90::MatrixType Type, class Memory>
  requires(!Memory::kCodes)
OPSWAP_DEVICE void start_values(Memory &s, float (&sums)[Memory::kValueHead / 2], uint32_t (&p)[Memory::kSteps][4],
                                const AttentionTurn &turn, int stage) {
  const uint64_t b = sm90::matrix_descriptor(s.values[stage][0], sm90::MatrixSwizzle::b128, 8 * kBoxRowBytes,
                                             Memory::kKeys * kBoxRowBytes);
  sm90::operand_fence(sums);
#pragma unroll
  for (int i = 0; i < Memory::kKeys / 16; ++i) sm90::operand_fence(p[i]);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kKeys / 16; ++i)
    sm90::wgmma<Memory::kValueHead, Type, Type, sm90::Major::k, sm90::Major::mn>(
        sums, p[i], sm90::advance(b, uint32_t(i) * 16 * kBoxRowBytes));
  sm90::wgmma_commit();
}

// A warpgroup's rows on their way through a task's tiles.
template <class Memory>
struct AttentionRows {
  float scores[Memory::kKeys / 2], sums[Memory::kValueHead / 2];
  uint32_t p[Memory::kSteps][4];  // probabilities of the tile whose values are next
  typename Memory::Softmax softmax;
};
template <class T, class Memory>
OPSWAP_DEVICE void pack(AttentionRows<Memory> &rows) {
  if constexpr (Memory::kCodes)
    pack_codes(rows.p, rows.scores);
  else
    pack_probabilities<T>(rows.p, rows.scores);
}
// Earlier sums are relative to a smaller score. Those of codes are relative to whole powers of two, which seldom
// change.
template <class Memory>
OPSWAP_DEVICE void shrink_sums(AttentionRows<Memory> &rows, const float (&shrink)[2]) {
  if (Memory::kCodes && !__any_sync(device::kAllLanes, shrink[0] != 1 || shrink[1] != 1)) return;
#pragma unroll
  for (int j = 0; j < Memory::kValueHead / 2; ++j) rows.sums[j] *= shrink[j / 2 % 2];
}

// The keys that a row sees.
template <class Memory, class T>
OPSWAP_DEVICE SeenKeys seen_by(Memory &s, const AttentionCall<T> &call, const AttentionTurn &turn, int row) {
  if constexpr (Memory::kCodes)  // whose tiles leave no registers for it
    return std::bit_cast<SeenKeys>(load_shared<2>(&s.seen[row].first));
  else if constexpr (Memory::kPlain)
    return {0, turn.task.length};
  else
    return seen_of_row(call, turn.task, row);
}

// Those of keys that a row does not see as -inf, in a tile that begins at `key`.
template <class Memory, class T>
OPSWAP_DEVICE void hide_unseen(Memory &s, AttentionRows<Memory> &rows, const AttentionCall<T> &call,
                               const AttentionTurn &turn, int key) {
  SeenColumns columns[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const SeenKeys seen = seen_by(s, call, turn, turn.row + 8 * r);
    columns[r] = {seen.first - key, seen.last - key};
  }
  hide_scores(rows.scores, columns, turn.lane);
}

// A tile's place in the ring.
struct AttentionStage {
  int stage;
  uint32_t phase;
  OPSWAP_DEVICE AttentionStage next() const { return {1 - stage, phase ^ uint32_t(stage)}; }  // of two stages
};
template <class Memory>
OPSWAP_DEVICE AttentionStage stage_of(const AttentionTurn &turn, int i) {
  const uint32_t count = uint32_t(turn.before + i);
  return {int(count % Memory::kStages), count / Memory::kStages & 1};
}

// The first tile's scores; there are no values to be added yet.
template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend_first(Memory &s, AttentionRows<Memory> &rows, const AttentionCall<T> &call,
                                const AttentionTurn &turn) {
  const AttentionStage at = stage_of<Memory>(turn, 0);
  float shrink[2];
  sm90::mbarrier_wait(s.full_keys[at.stage], at.phase);
  start_keys<Type>(s, rows.scores, turn, at.stage);
  sm90::wgmma_wait();
  sm90::operand_fence(rows.scores);
  if (turn.lane == 0) sm90::mbarrier_arrive(s.empty_keys[at.stage]);
  hide_unseen(s, rows, call, turn, turn.first + (turn.tiles - 1) * Memory::kKeys);
  rows.softmax.template take<false>(rows.scores, shrink, [] {});
  pack<T>(rows);
}

// One tile: its scores, and what the values of the tile before it, which is `at`, add. With `Masked` some row does not
// see some key, or saw none before.
template <sm90::MatrixType Type, bool Masked, class Memory, class T>
OPSWAP_DEVICE void attend_tile(Memory &s, AttentionRows<Memory> &rows, const AttentionCall<T> &call,
                               const AttentionTurn &turn, int i, AttentionStage &at) {
  static_assert(Memory::kStages == 2);
  const AttentionStage last = at;
  at = last.next();
  float shrink[2];
  sm90::mbarrier_wait(s.full_keys[at.stage], at.phase);
  sm90::barrier_sync(kTurnBarrier + uint32_t(turn.group), Memory::kMultiplying);
  start_keys<Type>(s, rows.scores, turn, at.stage);
  sm90::mbarrier_wait(s.full_values[last.stage], last.phase);
  start_values<Type>(s, rows.sums, rows.p, turn, last.stage);
  sm90::barrier_arrive(kTurnBarrier + uint32_t(1 - turn.group), Memory::kMultiplying);
  sm90::wgmma_wait<1>();
  sm90::operand_fence(rows.scores);
  if (turn.lane == 0) sm90::mbarrier_arrive(s.empty_keys[at.stage]);
  if constexpr (Masked) hide_unseen(s, rows, call, turn, turn.first + (turn.tiles - 1 - i) * Memory::kKeys);
  rows.softmax.template take<!Masked>(rows.scores, shrink, [&] {
    sm90::operand_fence(rows.scores);  // while the values are multiplied, not behind them
    sm90::wgmma_wait<0>();
    sm90::operand_fence(rows.sums);
#pragma unroll
    for (int j = 0; j < Memory::kSteps; ++j) sm90::operand_fence(rows.p[j]);
    if (turn.lane == 0) sm90::mbarrier_arrive(s.empty_values[last.stage]);
  });
  pack<T>(rows);
  shrink_sums(rows, shrink);
}

// What the last tile's values add.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void attend_last(Memory &s, AttentionRows<Memory> &rows, const AttentionTurn &turn) {
  const AttentionStage at = stage_of<Memory>(turn, turn.tiles - 1);
  sm90::mbarrier_wait(s.full_values[at.stage], at.phase);
  start_values<Type>(s, rows.sums, rows.p, turn, at.stage);
  sm90::wgmma_wait();
  sm90::operand_fence(rows.sums);
  if (turn.lane == 0) sm90::mbarrier_arrive(s.empty_values[at.stage]);
}

// All tiles: those at either end of what the rows see are masked, between them no row misses a key. The first row sees
// a key at least of those in front of them.
template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend(Memory &s, AttentionRows<Memory> &rows, const AttentionCall<T> &call,
                          const AttentionTurn &turn) {
  attend_first<Type>(s, rows, call, turn);
  const int seen_to = seen_of_row(call, turn.task, 0).last - turn.first;
  const int seen_from = seen_of_row(call, turn.task, turn.task.rows - 1).first - turn.first;
  const int from = turn.tiles - (seen_to > 0 ? (seen_to - 1) / Memory::kKeys : 0);
  const int to = turn.tiles - (seen_from > 0 ? (seen_from + Memory::kKeys - 1) / Memory::kKeys : 0);
  AttentionStage at = stage_of<Memory>(turn, 0);
  int i = 1;
  for (int end = from; i < turn.tiles; end = turn.tiles) {
#pragma unroll 1
    for (; i < end; ++i) attend_tile<Type, true>(s, rows, call, turn, i, at);
#pragma unroll 1
    for (; i < to; ++i) attend_tile<Type, false>(s, rows, call, turn, i, at);
  }
  attend_last<Type>(s, rows, turn);
}

// All tiles, one product after the other: with a softcap, or scales of slots, of which values' wait for the values.
template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend_slowly(Memory &s, AttentionRows<Memory> &rows, const AttentionCall<T> &call,
                                 const AttentionTurn &turn) {
#pragma unroll 1
  for (int i = 0; i < turn.tiles; ++i) {
    const AttentionStage at = stage_of<Memory>(turn, i);
    float shrink[2];
    sm90::mbarrier_wait(s.full_keys[at.stage], at.phase);
    start_keys<Type>(s, rows.scores, turn, at.stage);
    sm90::wgmma_wait();
    sm90::operand_fence(rows.scores);
    if (call.key_scales.data) scale_columns(rows.scores, s.key_scales[at.stage], turn.lane);
    __syncwarp();  // all lanes have read their scales
    if (turn.lane == 0) sm90::mbarrier_arrive(s.empty_keys[at.stage]);
    scale_scores(rows.scores, turn.scale, call.softcap);
    hide_unseen(s, rows, call, turn, turn.first + (turn.tiles - 1 - i) * Memory::kKeys);
    rows.softmax.template take<false>(rows.scores, shrink, [] {});
    shrink_sums(rows, shrink);
    sm90::mbarrier_wait(s.full_values[at.stage], at.phase);
    if (call.value_scales.data) scale_columns(rows.scores, s.value_scales[at.stage], turn.lane);
    pack<T>(rows);
    start_values<Type>(s, rows.sums, rows.p, turn, at.stage);
    sm90::wgmma_wait();
    sm90::operand_fence(rows.sums);
    if (turn.lane == 0) sm90::mbarrier_arrive(s.empty_values[at.stage]);
  }
}

// Sums of a thread's row become its values, with those of the other keys' states: a part's loads do not wait for each
// other. The log-sum-exp of all.
template <class T, int Held>
OPSWAP_DEVICE float join_sums(const AttentionCall<T> &call, const TokenHead &row, float (&sums)[Held], int r,
                              float share, float lse, int column) {
  const JoinedStates joined(call, row, lse);
#pragma unroll
  for (int i = 2 * r; i < Held; i += 4) sums[i] *= share * joined.own, sums[i + 1] *= share * joined.own;
  if (!call.other.data) return lse;
#pragma unroll 1
  for (int part = 0; part < call.states; ++part) {
    const float of_part = joined.share(call, row, part);
    const float *const from = call.other.data + row.in(call.other) + part * call.state_part + column;
#pragma unroll
    for (int i = 0; i < Held; i += 4) {
      if (i * 2 + column >= call.value_features) continue;
      const Vec<float, 2> other = load<2>(from + i * 2);
      sums[i + 2 * r] += other[0] * of_part, sums[i + 2 * r + 1] += other[1] * of_part;
    }
  }
  return joined.lse;
}

// A warpgroup's rows of out, and their log-sum-exp.
template <class Memory, class T>
OPSWAP_DEVICE void write_attention(const AttentionCall<T> &call, const AttentionTask &task, AttentionRows<Memory> &rows,
                                   int first, int lane) {
  const auto sink_of = [&](int row) {
    return row < task.rows ? call.sinks.at(head_of(call, task, row), -INFINITY) : -INFINITY;
  };
  rows.softmax.settle();
  rows.softmax.put_together({sink_of(first), sink_of(first + 8)});
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = first + 8 * r, column = lane % kRowLanes * 2;
    if (row >= task.rows) continue;
    const float share = rows.softmax.share(r) * call.v_scale.at(task.kv_head, 1);
    const TokenHead to = token_head(call, task, row);
    float lse = rows.softmax.lse(r);
    if constexpr (Memory::kJoins) {
      lse = join_sums(call, to, rows.sums, r, share, lse, column);
#pragma unroll
      for (int i = 0; i < Memory::kValueHead / 2; i += 4)
        if (i * 2 + column < call.value_features)
          store_row(call, to, i * 2 + column, Vec<float, 2>{{rows.sums[i + 2 * r], rows.sums[i + 2 * r + 1]}},
                    task.part);
    } else {
      T *const out = call.out.data + to.in(call.out) + column;
#pragma unroll
      for (int i = 0; i < Memory::kValueHead / 2; i += 4)
        if (i * 2 + column < call.value_features)
          store(out + i * 2,
                from_float<T>(Vec<float, 2>{{rows.sums[i + 2 * r] * share, rows.sums[i + 2 * r + 1] * share}}));
    }
    if (call.lse.data && lane % kRowLanes == 0)
      store(call.lse.data + to.in(call.lse) + (Memory::kJoins ? task.part * call.lse_part : 0), Vec<float, 1>{{lse}});
  }
}

// A task of a warpgroup that multiplies.
template <sm90::MatrixType Type, class Memory, class T>
OPSWAP_DEVICE void attend_task(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first, int tiles,
                               int before) {
  const int thread = int(threadIdx.x), lane = thread % device::kWarp, group = thread / device::kWarpgroup;
  const int row = thread / device::kWarp * 16 + lane / kRowLanes;
  load_queries(s, call, task, group * 64, 64, thread % device::kWarpgroup, device::kWarpgroup,
               kGroupBarrier + uint32_t(group));
  const float scale = call.softmax_scale * call.k_scale.at(task.kv_head, 1);
  // A scale below 0 would turn the order of scores around.
  const bool plain =
      Memory::kPlain || (!call.key_scales.data && !call.value_scales.data && call.softcap <= 0 && scale > 0);
  AttentionRows<Memory> rows{.softmax = SoftmaxRows(plain ? scale * kLog2E : 1)};
#pragma unroll
  for (int i = 0; i < Memory::kValueHead / 2; ++i) rows.sums[i] = 0;
  const AttentionTurn turn{task, first, tiles, before, group, row, lane, scale};
  if (!plain)
    attend_slowly<Type>(s, rows, call, turn);
  else if (tiles)
    attend<Type>(s, rows, call, turn);
  write_attention(call, task, rows, row, lane);
}

// One part of a task's keys, in whole tiles.
template <int Keys, class T>
OPSWAP_DEVICE void take_part(AttentionTask &task, const AttentionCall<T> &call, int part) {
  const int tiles = (task.length + Keys - 1) / Keys, keys = (tiles + call.states - 1) / call.states * Keys;
  const int first = part * keys, last = first + keys;
  task.part = part;
  if (task.first_key < first) task.first_key = first;
  if (task.last_key > last) task.last_key = last;
}

// Blocks take one tile of rows of one head after the other, those of a head together, so that they share its keys.
// body(task, its first key, tiles of keys, tiles before) for each of the block's.
template <class Memory, class T, class Body>
OPSWAP_DEVICE void each_task(const AttentionCall<T> &call, int kv_heads, Body &&body) {
  const int all = tiles_of_all<Memory::kRows>(call), parts = Memory::kJoins && call.state.data ? call.states : 1;
  int before = 0;
  for (int number = int(blockIdx.x); number < all * kv_heads * parts; number += int(gridDim.x)) {
    AttentionTask task =
        attention_task<Memory::kRows>(call, number / (all * parts) * all + number % all, all, kv_heads);
    if (parts > 1) take_part<Memory::kKeys>(task, call, number / all % parts);
    const int first = task.first_key / Memory::kKeys * Memory::kKeys;
    const int tiles = task.last_key > first ? (task.last_key - first + Memory::kKeys - 1) / Memory::kKeys : 0;
    body(task, first, tiles, before);
    before += tiles;
  }
}

// Those who load leave registers to those who multiply; each has 168 at first. load(task, first key, tiles, tiles
// before) and multiply(...) are done for each task.
template <class Memory, class T, class Load, class Multiply>
OPSWAP_DEVICE void run_attention(Memory &s, const AttentionCall<T> &call, int kv_heads, Load &&load,
                                 Multiply &&multiply) {
  const int thread = int(threadIdx.x);
  if (thread == 0) attention_ring_init(s, call);
  __syncthreads();
  sm90::dependency_wait();
  sm90::dependency_trigger();
  if (thread >= Memory::kMultiplying) {
    sm90::registers_shrink<Memory::kLoadingRegisters>();
    each_task<Memory>(call, kv_heads, load);
  } else {
    sm90::registers_grow<Memory::kMultiplyingRegisters>();
    const bool second = thread >= device::kWarpgroup;
    if (second) sm90::barrier_arrive(kTurnBarrier, Memory::kMultiplying);
    each_task<Memory>(call, kv_heads, multiply);
    if (!second) sm90::barrier_sync(kTurnBarrier, Memory::kMultiplying);  // the second one's last turn
  }
}

}  // namespace opswap
