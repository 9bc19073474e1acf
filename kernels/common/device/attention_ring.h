// How attention's operands come to shared memory: queries once, keys and values tile by tile into a ring. 16 keys that
// lie in one page come as boxes; of pages of any other size, and where not all 16 are seen, rows are gathered in pieces
// of 16 bytes. Slots that no row sees are zeros and are not read. Codes come to the upper half of their tile's place
// and are made numbers of 16 bits there.
#pragma once

#include <bit>

#include "common/device/attention_boxes.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/wgmma.h"

namespace opswap {

inline constexpr int kPieceBytes = 16;

// Named barriers: one for each warpgroup that multiplies from kGroupBarrier on, one for all of these, one for those who
// load, and one for each warpgroup's turn.
inline constexpr uint32_t kGroupBarrier = 1, kMultiplyingBarrier = 3, kLoadingBarrier = 4, kTurnBarrier = 5;

// The matrix of a descriptor that hangs on the warpgroup, so many bytes further on. Only the low half is added to, so
// that the high one stays a constant.
OPSWAP_DEVICE uint64_t moved(uint64_t descriptor, uint32_t bytes) {
  return (descriptor & ~uint64_t{0xffffffff}) | (uint32_t(descriptor) + (bytes >> 4));
}

// Keys and values, a tile of each in a stage, and who says what of them. Heads may have fewer features.
template <int Head, int ValueHead, int Groups, int Keys>
struct AttentionRing {
  static constexpr bool kPlain = false;  // rows see all keys, and there are neither codes nor scales
  static constexpr bool kCodes = false;  // products of codes
  static constexpr int kHead = Head, kValueHead = ValueHead, kGroups = Groups, kKeys = Keys, kStages = 2;
  static constexpr int kBoxes = Head / kBoxElements, kValueBoxes = ValueHead / kBoxElements;
  static constexpr int kMultiplying = Groups * device::kWarpgroup, kThreads = kMultiplying + device::kWarpgroup;
  alignas(1024) unsigned char keys[kStages][kBoxes][kKeys * kBoxRowBytes];
  alignas(1024) unsigned char values[kStages][kValueBoxes][kKeys * kBoxRowBytes];
  alignas(16) float key_scales[kStages][kKeys], value_scales[kStages][kKeys];  // where each slot has its own
  int64_t key_places[2][kKeys], value_places[2][kKeys];  // of a tile and the next one: TileSlots::put
  sm90::Mbarrier full_keys[kStages], full_values[kStages], empty_keys[kStages], empty_values[kStages];
  sm90::Mbarrier landed_keys[kStages], landed_values[kStages];  // boxes of codes, not yet of 16 bits
};

// A tile's place in the ring, which had `count` before.
struct RingStage {
  int stage, turn;
  uint32_t phase;
};
template <class Memory>
OPSWAP_DEVICE RingStage ring_stage(int count) {
  return {count % Memory::kStages, count % 2, uint32_t(count / Memory::kStages) & 1};
}

template <class Memory, class T>
OPSWAP_DEVICE void attention_ring_init(Memory &s, const AttentionCall<T> &call) {
  if (call.boxed) {
    sm90::tma_prefetch(&call.key_map);
    if constexpr (!Memory::kCodes) sm90::tma_prefetch(&call.value_map);
  }
  for (int i = 0; i < Memory::kStages; ++i) {
    sm90::mbarrier_init(s.full_keys[i], device::kWarpgroup);
    sm90::mbarrier_init(s.full_values[i], device::kWarpgroup);
    sm90::mbarrier_init(s.empty_keys[i], Memory::kMultiplying / device::kWarp);
    sm90::mbarrier_init(s.empty_values[i], Memory::kMultiplying / device::kWarp);
    if constexpr (!Memory::kCodes) {
      sm90::mbarrier_init(s.landed_keys[i], device::kWarpgroup);
      sm90::mbarrier_init(s.landed_values[i], device::kWarpgroup);
    }
  }
  sm90::fence_mbarrier_init();
}

// Piece `piece` of row `row` of a tile whose boxes have `rows` rows each.
OPSWAP_DEVICE int swizzled(int rows, int row, int piece) {
  constexpr int kPieces = kBoxRowBytes / kPieceBytes;
  return (piece / kPieces * rows + row) * kBoxRowBytes + (piece % kPieces ^ row % kPieces) * kPieceBytes;
}

// Rows [first, first + count) of queries, shared by `threads` threads; those beyond the task's, and features beyond the
// head's, are zeros.
template <class Memory, class T>
OPSWAP_DEVICE void load_queries(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first,
                                int count, int thread, int threads, uint32_t barrier) {
  constexpr int kPieces = Memory::kHead * int(sizeof(T)) / kPieceBytes, kOfPiece = kPieceBytes / int(sizeof(T));
#pragma unroll 1
  for (int i = thread; i < count * kPieces; i += threads) {
    const int row = first + i / kPieces, piece = i % kPieces;
    const bool there = row < task.rows && piece * kOfPiece < call.features;
    const T *from = call.query.data + (there ? place_of(call, call.query, task, row) + piece * kOfPiece : 0);
    sm90::cp_async<16>(s.query[0] + swizzled(Memory::kRows, row, piece), from, there ? 16 : 0);
  }
  sm90::cp_async_commit();
  sm90::cp_async_wait();
  sm90::fence_async_proxy();
  sm90::barrier_sync(barrier, uint32_t(threads));
}

// A thread of those who load asks for its pieces of `Bytes` bytes of rows of keys, or of values: `to(row, piece)` is
// where a piece goes, `RowBytes` how long rows are there.
template <int Keys, int RowBytes, int Bytes, class To>
OPSWAP_DEVICE void ask_for_pieces(const PagedRows &cache, const int64_t *places, int thread, To &&to) {
  constexpr int kPieces = RowBytes / Bytes, kMine = Keys * kPieces / device::kWarpgroup;
#pragma unroll 4
  for (int i = 0; i < kMine; ++i) {
    const int index = thread + i * device::kWarpgroup, row = index / kPieces, piece = index % kPieces;
    const int byte = piece * Bytes;
    const int64_t place = load_shared<1>(places + row)[0];
    if (place == kComesBoxed) continue;
    const int left = place < 0 ? 0 : cache.bytes - byte;
    sm90::cp_async<Bytes>(to(row, piece), cache.data + (left > 0 ? place + byte : 0),
                          left <= 0      ? 0
                          : left < Bytes ? left
                                         : Bytes);
  }
}

// Keys, or values, of a stage: where a tile of them goes and comes from, and what says that it is there.
struct RingPart {
  unsigned char *to;
  float *scales_to;
  const int64_t *places;
  const PagedRows &rows, &scales;
  const sm90::TensorMap &map;
  sm90::Mbarrier &full, &landed;
  uint32_t phase;
};
template <class Memory, class T>
OPSWAP_DEVICE RingPart keys_of(Memory &s, const AttentionCall<T> &call, const RingStage &at) {
  return {s.keys[at.stage][0], s.key_scales[at.stage], s.key_places[at.turn],   call.keys, call.key_scales,
          call.key_map,        s.full_keys[at.stage],  s.landed_keys[at.stage], at.phase};
}
template <class Memory, class T>
OPSWAP_DEVICE RingPart values_of(Memory &s, const AttentionCall<T> &call, const RingStage &at) {
  return {s.values[at.stage][0], s.value_scales[at.stage], s.value_places[at.turn],   call.values, call.value_scales,
          call.value_map,        s.full_values[at.stage],  s.landed_values[at.stage], at.phase};
}

// Asks for a tile of keys or of values, and for the scale of the thread's own slot, where there are any.
template <class Memory, int Features, class T>
OPSWAP_DEVICE void ask_for_tile(const RingPart &part, const AttentionCall<T> &call, const AttentionTask &task,
                                const TileSlots<Memory::kKeys> &own, int thread) {
  constexpr int kKeys = Memory::kKeys;
  unsigned char *const upper = part.to + kKeys * Features;
  if (Memory::kPlain || !call.codes) {
    own.template ask<kBoxRowBytes, Features / kBoxElements>(part.to, part.map, part.full, kBoxElements, task.kv_head);
    if (!own.all_boxed)
      ask_for_pieces<kKeys, Features * 2, kPieceBytes>(
          part.rows, part.places, thread, [&](int row, int piece) { return part.to + swizzled(kKeys, row, piece); });
  } else {
    own.template ask<Features, 1>(upper, part.map, part.landed, Features, task.kv_head);
    sm90::mbarrier_arrive(part.landed);
    const auto to = [&](int row, int byte) { return upper + row * Features + byte; };
    if (!part.rows.aligned)  // scales stand between rows
      ask_for_pieces<kKeys, Features, 4>(part.rows, part.places, thread,
                                         [&](int row, int piece) { return to(row, piece * 4); });
    else if (!own.all_boxed)
      ask_for_pieces<kKeys, Features, kPieceBytes>(part.rows, part.places, thread,
                                                   [&](int row, int piece) { return to(row, piece * kPieceBytes); });
  }
  if (!Memory::kPlain && part.scales.data && thread < kKeys)
    sm90::cp_async<4>(part.scales_to + thread,
                      part.scales.data + (own.slot[0].there() ? own.slot[0].in(part.scales, task.kv_head) : 0),
                      own.slot[0].there() ? 4 : 0);
  sm90::cp_async_commit();
}

// The codes of some boxes, in the upper half of a tile's place, become numbers in these boxes. The threads that load
// share them; with `Apart` no box lies where codes are still to be read, else each keeps its own until all have theirs.
template <int Keys, int Features, int FirstBox, int Boxes, bool Apart, class T>
OPSWAP_DEVICE void widen_boxes(unsigned char *tile, int thread) {
  constexpr int kCodes = 16, kOfBox = kBoxElements / kCodes, kRuns = Boxes * kOfBox;
  constexpr int kMine = Keys * kRuns / device::kWarpgroup;
  const e4m3 *const codes = reinterpret_cast<const e4m3 *>(tile + Keys * Features);
  Vec<e4m3, kCodes> kept[kMine];
#pragma unroll
  for (int i = 0; i < kMine; ++i) {
    const int index = thread + i * device::kWarpgroup;
    kept[i] = load_shared<kCodes>(codes + index / kRuns * Features + (FirstBox * kOfBox + index % kRuns) * kCodes);
  }
  if constexpr (!Apart) sm90::barrier_sync(kLoadingBarrier, device::kWarpgroup);
#pragma unroll
  for (int i = 0; i < kMine; ++i) {
    const int index = thread + i * device::kWarpgroup, row = index / kRuns, run = FirstBox * kOfBox + index % kRuns;
    const int first = run / kOfBox % 2;  // so that two boxes' pieces are in other banks
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int half = j ^ first;
      const Vec<uint32_t, 4> words = std::bit_cast<Vec<uint32_t, 4>>(kept[i]);
      const Vec<uint32_t, 2> own{{half ? words[2] : words[0], half ? words[3] : words[1]}};
      store_shared(reinterpret_cast<T *>(tile + swizzled(Keys, row, run * 2 + half)),
                   from_float<T>(to_float(std::bit_cast<Vec<e4m3, 8>>(own))));
    }
  }
}

template <int Keys, int Features, class T>
OPSWAP_DEVICE void widen_codes(unsigned char *tile, int thread) {
  constexpr int kBoxes = Features / kBoxElements, kLower = kBoxes / 2;
  sm90::barrier_sync(kLoadingBarrier, device::kWarpgroup);  // all copies are there
  if constexpr (kLower > 0) widen_boxes<Keys, Features, 0, kLower, true, T>(tile, thread);
  widen_boxes<Keys, Features, kLower, kBoxes - kLower, false, T>(tile, thread);
}

// Says of a tile that was asked for `Behind` groups ago that it is there: wgmma reads past the caches of ordinary
// accesses, so that whoever copied has to say it.
template <int Behind, class Memory, int Features, class T>
OPSWAP_DEVICE void tell(const RingPart &part, const AttentionCall<T> &call, int thread) {
  sm90::cp_async_wait<Behind>();
  if constexpr (!Memory::kPlain)
    if (call.codes) {
      sm90::mbarrier_wait(part.landed, part.phase);
      widen_codes<Memory::kKeys, Features, T>(part.to, thread);
    }
  sm90::fence_async_proxy();
  sm90::mbarrier_arrive(part.full);
}

// `tiles` tiles of keys and values from key `first` on, upwards or, with `Down`, from the last one; `before` is how
// many the ring had. A thread looks for a key of the next tile while this one is on its way; what was asked for is told
// one group later.
template <bool Down, class Memory, class T>
OPSWAP_DEVICE void load_tiles(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first, int tiles,
                              int before, int thread) {
  constexpr int kKeys = Memory::kKeys, kHead = Memory::kHead, kValueHead = Memory::kValueHead;
  static_assert(kKeys <= device::kWarpgroup || Memory::kPlain, "a thread asks for the scale of one key");
  const auto find = [&](int i) {
    return TileSlots<kKeys>(call, task, task.first_key, first + (Down ? tiles - 1 - i : i) * kKeys, i < tiles, thread);
  };
  TileSlots<kKeys> own = find(0);
#pragma unroll 1
  for (int i = 0; i < tiles; ++i) {
    const RingStage at = ring_stage<Memory>(before + i), last = ring_stage<Memory>(before + i - 1);
    own.put(s.key_places[at.turn], call.keys, task.kv_head);
    own.put(s.value_places[at.turn], call.values, task.kv_head);
    sm90::barrier_sync(kLoadingBarrier, device::kWarpgroup);
    sm90::mbarrier_wait(s.empty_keys[at.stage], at.phase ^ 1);
    ask_for_tile<Memory, kHead>(keys_of(s, call, at), call, task, own, thread);
    if (i) tell<1, Memory, kValueHead>(values_of(s, call, last), call, thread);
    sm90::mbarrier_wait(s.empty_values[at.stage], at.phase ^ 1);
    ask_for_tile<Memory, kValueHead>(values_of(s, call, at), call, task, own, thread);
    own = find(i + 1);
    tell<1, Memory, kHead>(keys_of(s, call, at), call, thread);
  }
  if (tiles) tell<0, Memory, kValueHead>(values_of(s, call, ring_stage<Memory>(before + tiles - 1)), call, thread);
}

}  // namespace opswap
