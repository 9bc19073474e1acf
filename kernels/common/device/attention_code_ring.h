// How attention's operands come to shared memory where FP8 codes are multiplied as they are: keys as they lie, values
// with the keys of a feature side by side, as wgmma takes bytes. Values that lie the other way are turned by those who
// load; interleaved ones (docs/layouts.md) come as they lie.
#pragma once

#include "common/device/attention_ring.h"
#include "common/device/interleave.h"

namespace opswap {

// Where piece `piece` of row `row` is in boxes of `rows` rows of 64 or 128 bytes, with the swizzle of that width.
template <int RowBytes>
OPSWAP_DEVICE int placed(int rows, int row, int piece) {
  constexpr int kPieces = RowBytes / kPieceBytes;
  const int turn = RowBytes == 128 ? row % 8 : row / 2 % 4;
  return (piece / kPieces * rows + row) * RowBytes + (piece % kPieces ^ turn) * kPieceBytes;
}
template <int RowBytes>
inline constexpr sm90::MatrixSwizzle kSwizzle = RowBytes == 128 ? sm90::MatrixSwizzle::b128 : sm90::MatrixSwizzle::b64;

// Keys and values in two stages each, and values as they were before they were turned.
template <int Head, int ValueHead, int Keys>
struct CodeRing {
  static constexpr bool kCodes = true;
  static constexpr int kHead = Head, kValueHead = ValueHead, kKeys = Keys, kGroups = 2, kStages = 2;
  static constexpr int kRowBytes = Head % 128 ? 64 : 128, kValueRowBytes = Keys % 128 ? 64 : 128;
  static constexpr int kMultiplying = kGroups * device::kWarpgroup, kThreads = kMultiplying + device::kWarpgroup;
  alignas(1024) unsigned char keys[kStages][Keys * Head];         // boxes of kRowBytes: a row is a key
  alignas(1024) unsigned char values[kStages][ValueHead * Keys];  // boxes of kValueRowBytes: a row is a feature
  alignas(16) unsigned char unturned[kStages][Keys * ValueHead];
  int64_t key_places[kStages][Keys], value_places[kStages][Keys];  // TileSlots::put
  sm90::Mbarrier full_keys[kStages], full_values[kStages], empty_keys[kStages], empty_values[kStages];
};

// Where 16 codes of a key wait to be turned: keys 16 apart use other banks.
template <class Memory>
OPSWAP_DEVICE int unturned_place(int key, int piece) {
  constexpr int kPieces = Memory::kValueHead / kPieceBytes;
  return key * Memory::kValueHead + (piece ^ key / kInterleaved) % kPieces * kPieceBytes;
}

// A tile of values as wgmma takes it: a thread turns 4 features of 16 keys at a time, half of a feature's bytes after
// the other, for which it has registers.
template <class Memory>
OPSWAP_DEVICE void turn_values(Memory &s, int stage, int thread) {
  constexpr int kRuns = Memory::kKeys / kInterleaved, kMine = kRuns * Memory::kValueHead / 4 / device::kWarpgroup;
  static_assert(kMine * 4 * device::kWarpgroup == kRuns * Memory::kValueHead, "all threads turn as many");
#pragma unroll 1
  for (int i = 0; i < kMine; ++i) {
    const int index = thread + i * device::kWarpgroup, run = index % kRuns, features = index / kRuns * 4;
    const unsigned char *const from =
        s.unturned[stage] + unturned_place<Memory>(run * kInterleaved, features / kPieceBytes) + features % kPieceBytes;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Vec<uint32_t, 2> turned[4];
#pragma unroll
      for (int word = 0; word < 2; ++word) {
        uint32_t of_keys[4];
#pragma unroll
        for (int byte = 0; byte < 4; ++byte)
          of_keys[byte] = load_shared<1>(reinterpret_cast<const uint32_t *>(
              from + interleaved_key(half * 2 + word, byte) * Memory::kValueHead))[0];
        const Vec<uint32_t, 4> of = transposed(of_keys);
#pragma unroll
        for (int f = 0; f < 4; ++f) turned[f][word] = of[f];
      }
#pragma unroll
      for (int f = 0; f < 4; ++f)
        store_shared(
            reinterpret_cast<uint32_t *>(
                s.values[stage] + placed<Memory::kValueRowBytes>(Memory::kValueHead, features + f, run) + half * 8),
            turned[f]);
    }
  }
}

// Asks for interleaved values: 16 keys of a feature are side by side in the cache. The thread of the first of 16 keys
// knows where they are.
template <class Memory>
OPSWAP_DEVICE void ask_for_interleaved(Memory &s, const PagedRows &cache, int features, const int64_t *places,
                                       int stage, int thread) {
  constexpr int kRuns = Memory::kKeys / kInterleaved, kMine = kRuns * Memory::kValueHead / device::kWarpgroup;
  static_assert(kMine * device::kWarpgroup == kRuns * Memory::kValueHead, "all threads ask for as many");
#pragma unroll 4
  for (int i = 0; i < kMine; ++i) {
    const int index = thread + i * device::kWarpgroup, feature = index % Memory::kValueHead,
              run = index / Memory::kValueHead;
    const int64_t place = load_shared<1>(places + run * kInterleaved)[0];
    const bool there = place >= 0 && feature < features;
    sm90::cp_async<kPieceBytes>(s.values[stage] + placed<Memory::kValueRowBytes>(Memory::kValueHead, feature, run),
                                cache.data + (there ? place + int64_t(feature) * cache.bytes : 0),
                                there ? kPieceBytes : 0);
  }
}

// Codes of interleaved keys that no row sees are zeros: those in 16 keys of which others are seen.
template <class Memory>
OPSWAP_DEVICE void clean_interleaved(Memory &s, const AttentionTask &task, int first, int stage, int thread) {
#pragma unroll 1
  for (int edge = 0; edge < 2; ++edge) {
    const int key = (edge ? task.last_key : task.first_key) - first;
    if (key <= 0 || key >= Memory::kKeys || key % kInterleaved == 0) continue;
    const int run = key / kInterleaved, from = task.first_key - first - run * kInterleaved,
              to = task.last_key - first - run * kInterleaved;
#pragma unroll 1
    for (int feature = thread; feature < Memory::kValueHead; feature += device::kWarpgroup) {
      auto *const at = reinterpret_cast<uint32_t *>(s.values[stage] +
                                                    placed<Memory::kValueRowBytes>(Memory::kValueHead, feature, run));
      Vec<uint32_t, 4> words = load_shared<4>(static_cast<const uint32_t *>(at));
#pragma unroll
      for (int i = 0; i < kInterleaved; ++i) {
        const int of = interleaved_key(i / 4, i % 4);
        if (of < from || of >= to) words[i / 4] &= ~(0xffu << i % 4 * 8);
      }
      store_shared(at, words);
    }
  }
}

// A tile's first key, and where it is in the ring.
struct CodeTile : RingStage {
  int first;
};

template <class Memory, class T>
OPSWAP_DEVICE void ask_for_key_codes(Memory &s, const AttentionCall<T> &call, const AttentionTask &task,
                                     const TileSlots<Memory::kKeys> &own, const CodeTile &tile, int thread) {
  constexpr int kBytes = Memory::kRowBytes;
  unsigned char *const to = s.keys[tile.stage];
  own.template ask<kBytes, Memory::kHead / kBytes>(to, call.key_map, s.full_keys[tile.stage], kBytes, task.kv_head);
  if (!own.all_boxed)
    ask_for_pieces<Memory::kKeys, Memory::kHead, kPieceBytes>(
        call.keys, s.key_places[tile.stage], thread,
        [&](int key, int piece) { return to + placed<kBytes>(Memory::kKeys, key, piece); });
  sm90::cp_async_commit();
}

template <class Memory, class T>
OPSWAP_DEVICE void ask_for_value_codes(Memory &s, const AttentionCall<T> &call, const CodeTile &tile, int thread) {
  if (call.interleaved)
    ask_for_interleaved(s, call.values, call.value_features, s.value_places[tile.stage], tile.stage, thread);
  else
    ask_for_pieces<Memory::kKeys, Memory::kValueHead, kPieceBytes>(
        call.values, s.value_places[tile.stage], thread,
        [&](int key, int piece) { return s.unturned[tile.stage] + unturned_place<Memory>(key, piece); });
  sm90::cp_async_commit();
}

// Says of values that were asked for `Behind` groups ago that they are there, as wgmma takes them.
template <int Behind, class Memory, class T>
OPSWAP_DEVICE void tell_codes(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, const CodeTile &tile,
                              int thread) {
  sm90::cp_async_wait<Behind>();
  sm90::barrier_sync(kLoadingBarrier, device::kWarpgroup);  // all copies are there
  if (call.interleaved)
    clean_interleaved(s, task, tile.first, tile.stage, thread);
  else
    turn_values(s, tile.stage, thread);
  sm90::fence_async_proxy();
  sm90::mbarrier_arrive(s.full_values[tile.stage]);
}

// `tiles` tiles from the last one down, as load_tiles does for numbers of 16 bits; keys alone come as boxes, since
// values are turned. Interleaved keys are looked for from the first of 16 on.
template <class Memory, class T>
OPSWAP_DEVICE void load_code_tiles(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first,
                                   int tiles, int before, int thread) {
  AttentionTask looked_for = task;
  if (call.interleaved) looked_for.first_key -= task.first_key % kInterleaved;
  const auto tile_of = [&](int i) {
    return CodeTile{ring_stage<Memory>(before + i), first + (tiles - 1 - i) * Memory::kKeys};
  };
#pragma unroll 1
  for (int i = 0; i < tiles; ++i) {
    const CodeTile tile = tile_of(i);
    const TileSlots<Memory::kKeys> own(call, looked_for, task.first_key, tile.first, true, thread);
    own.put(s.key_places[tile.stage], call.keys, task.kv_head);
    own.template put<false>(s.value_places[tile.stage], call.values, task.kv_head);
    sm90::barrier_sync(kLoadingBarrier, device::kWarpgroup);
    sm90::mbarrier_wait(s.empty_keys[tile.stage], tile.phase ^ 1);
    ask_for_key_codes(s, call, task, own, tile, thread);
    if (i) tell_codes<1>(s, call, task, tile_of(i - 1), thread);
    sm90::mbarrier_wait(s.empty_values[tile.stage], tile.phase ^ 1);
    ask_for_value_codes(s, call, tile, thread);
    sm90::cp_async_wait<1>();
    sm90::fence_async_proxy();
    sm90::mbarrier_arrive(s.full_keys[tile.stage]);
  }
  if (tiles) tell_codes<0>(s, call, task, tile_of(tiles - 1), thread);
}

}  // namespace opswap
