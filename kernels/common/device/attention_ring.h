// How attention's operands come to shared memory: queries once, keys and values tile by tile into a ring. Pages may be
// of any size, so rows are gathered in pieces of 16 bytes; slots that no row sees are zeros and are not read. Codes
// come to the upper half of their tile's place and are made numbers of 16 bits there.
#pragma once

#include <bit>

#include "common/device/attention_rows.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/wgmma.h"

namespace opswap {

// Rows of 64 elements of 16 bits, 128 bytes, with the swizzle of that width: so many boxes for a head.
inline constexpr int kBoxElements = 64, kBoxRowBytes = 128, kPieceBytes = 16;

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
  static constexpr int kHead = Head, kValueHead = ValueHead, kGroups = Groups, kKeys = Keys, kStages = 2;
  static constexpr int kBoxes = Head / kBoxElements, kValueBoxes = ValueHead / kBoxElements;
  static constexpr int kMultiplying = Groups * device::kWarpgroup, kThreads = kMultiplying + device::kWarpgroup;
  alignas(1024) unsigned char keys[kStages][kBoxes][kKeys * kBoxRowBytes];
  alignas(1024) unsigned char values[kStages][kValueBoxes][kKeys * kBoxRowBytes];
  alignas(16) float key_scales[kStages][kKeys], value_scales[kStages][kKeys];  // where each slot has its own
  int64_t key_places[2][kKeys], value_places[2][kKeys];  // of a tile and the next one, in bytes; -1: not read
  sm90::Mbarrier full_keys[kStages], full_values[kStages], empty_keys[kStages], empty_values[kStages];
};

template <class Memory>
OPSWAP_DEVICE void attention_ring_init(Memory &s) {
  for (int i = 0; i < Memory::kStages; ++i) {
    sm90::mbarrier_init(s.full_keys[i], device::kWarpgroup);
    sm90::mbarrier_init(s.full_values[i], device::kWarpgroup);
    sm90::mbarrier_init(s.empty_keys[i], Memory::kMultiplying / device::kWarp);
    sm90::mbarrier_init(s.empty_values[i], Memory::kMultiplying / device::kWarp);
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

// Where a key is: its page, and its slot there; -1 where no row of the tile sees it.
struct KeySlot {
  int block, slot;
  OPSWAP_DEVICE bool there() const { return slot >= 0; }
  OPSWAP_DEVICE int64_t in(const PagedRows &cache, int kv_head) const {
    return there() ? block * cache.block + kv_head * cache.head + slot * cache.slot : -1;
  }
};
template <class T>
OPSWAP_DEVICE KeySlot find_slot(const AttentionCall<T> &call, const AttentionTask &task, int key) {
  if (key < task.first_key || key >= task.last_key) return {0, -1};
  const int at = key + (call.block_table ? 0 : call.key_start_loc[task.sequence]), page = call.block_size(at);
  const int32_t *const row = call.block_table + task.sequence * call.table_row;
  return {call.block_table ? load<1>(row + page * call.table_column)[0] : page, at - page * call.block_size.divisor};
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
    const int left = place < 0 ? 0 : cache.bytes - byte;
    sm90::cp_async<Bytes>(to(row, piece), cache.data + (left > 0 ? place + byte : 0),
                          left <= 0      ? 0
                          : left < Bytes ? left
                                         : Bytes);
  }
}

// Asks for a tile of keys or of values, and for the scale of the thread's own slot, where there are any.
template <class Memory, int Features, class T>
OPSWAP_DEVICE void ask_for_tile(unsigned char *to, float *scales_to, const PagedRows &cache, const PagedRows &scales,
                                const AttentionCall<T> &call, const AttentionTask &task, const KeySlot &own,
                                const int64_t *places, int thread) {
  constexpr int kKeys = Memory::kKeys;
  unsigned char *const upper = to + kKeys * Features;
  if (Memory::kPlain || !call.codes)
    ask_for_pieces<kKeys, Features * 2, kPieceBytes>(
        cache, places, thread, [&](int row, int piece) { return to + swizzled(kKeys, row, piece); });
  else if (cache.aligned)
    ask_for_pieces<kKeys, Features, kPieceBytes>(
        cache, places, thread, [&](int row, int piece) { return upper + row * Features + piece * kPieceBytes; });
  else  // scales stand between rows
    ask_for_pieces<kKeys, Features, 4>(cache, places, thread,
                                       [&](int row, int piece) { return upper + row * Features + piece * 4; });
  if (!Memory::kPlain && scales.data && thread < kKeys)
    sm90::cp_async<4>(scales_to + thread, scales.data + (own.there() ? own.in(scales, task.kv_head) : 0),
                      own.there() ? 4 : 0);
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
OPSWAP_DEVICE void tell(unsigned char *tile, sm90::Mbarrier &full, const AttentionCall<T> &call, int thread) {
  sm90::cp_async_wait<Behind>();
  if constexpr (!Memory::kPlain)
    if (call.codes) widen_codes<Memory::kKeys, Features, T>(tile, thread);
  sm90::fence_async_proxy();
  sm90::mbarrier_arrive(full);
}

// `tiles` tiles of keys and values from key `first` on, upwards or, with `Down`, from the last one; `before` is how
// many the ring had. A thread looks for a key of the next tile while this one is on its way; what was asked for is told
// one group later.
template <bool Down, class Memory, class T>
OPSWAP_DEVICE void load_tiles(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first, int tiles,
                              int before, int thread) {
  constexpr int kKeys = Memory::kKeys, kHead = Memory::kHead, kValueHead = Memory::kValueHead;
  constexpr int kMine = (kKeys + device::kWarpgroup - 1) / device::kWarpgroup;
  static_assert(kMine == 1 || Memory::kPlain, "a thread asks for the scale of one key");
  KeySlot own[kMine];
  const auto find = [&](int i) {
#pragma unroll
    for (int j = 0; j < kMine; ++j) {
      const int key = thread + j * device::kWarpgroup;
      own[j] = key < kKeys && i < tiles ? find_slot(call, task, first + (Down ? tiles - 1 - i : i) * kKeys + key)
                                        : KeySlot{0, -1};
    }
  };
  find(0);
#pragma unroll 1
  for (int i = 0; i < tiles; ++i) {
    const int stage = (before + i) % Memory::kStages, last = (before + i - 1) % Memory::kStages,
              turn = (before + i) % 2;
    const uint32_t phase = uint32_t((before + i) / Memory::kStages) & 1;
#pragma unroll
    for (int j = 0; j < kMine; ++j) {
      const int key = thread + j * device::kWarpgroup;
      if (key >= kKeys) continue;
      store_shared(s.key_places[turn] + key, Vec<int64_t, 1>{own[j].in(call.keys, task.kv_head)});
      store_shared(s.value_places[turn] + key, Vec<int64_t, 1>{own[j].in(call.values, task.kv_head)});
    }
    sm90::barrier_sync(kLoadingBarrier, device::kWarpgroup);
    sm90::mbarrier_wait(s.empty_keys[stage], phase ^ 1);
    ask_for_tile<Memory, kHead>(s.keys[stage][0], s.key_scales[stage], call.keys, call.key_scales, call, task, own[0],
                                s.key_places[turn], thread);
    if (i) tell<1, Memory, kValueHead>(s.values[last][0], s.full_values[last], call, thread);
    sm90::mbarrier_wait(s.empty_values[stage], phase ^ 1);
    ask_for_tile<Memory, kValueHead>(s.values[stage][0], s.value_scales[stage], call.values, call.value_scales, call,
                                     task, own[0], s.value_places[turn], thread);
    find(i + 1);
    tell<1, Memory, kHead>(s.keys[stage][0], s.full_keys[stage], call, thread);
  }
  const int last = (before + tiles - 1) % Memory::kStages;
  if (tiles) tell<0, Memory, kValueHead>(s.values[last][0], s.full_values[last], call, thread);
}

}  // namespace opswap
