// Where a tile's keys and values lie, and how they come as boxes: 16 keys of a head, which one thread asks for, where
// these lie in one page and some row sees each of them. What is not asked for is not read.
#pragma once

#include "common/device/attention_rows.h"
#include "common/sm90/tma.h"

namespace opswap {

// Rows of 64 elements of 16 bits, 128 bytes, with the swizzle of that width: so many boxes for a head.
inline constexpr int kBoxElements = 64, kBoxRowBytes = 128;
inline constexpr int kBoxKeys = 16;
// Instead of a key's place in bytes: no row sees it, or it comes in a box.
inline constexpr int64_t kNotRead = -1, kComesBoxed = -2;

// Where a key is: its page, and its slot there; -1 where no row of the tile sees it.
struct KeySlot {
  int block, slot;
  OPSWAP_DEVICE bool there() const { return slot >= 0; }
  OPSWAP_DEVICE int64_t in(const PagedRows &cache, int kv_head) const {
    return there() ? block * cache.block + kv_head * cache.head + slot * cache.slot : kNotRead;
  }
};
template <class T>
OPSWAP_DEVICE KeySlot find_slot(const AttentionCall<T> &call, const AttentionTask &task, int key) {
  if (key < task.first_key || key >= task.last_key) return {0, -1};
  const int at = key + (call.block_table ? 0 : call.key_start_loc[task.sequence]), page = call.block_size(at);
  const int32_t *const row = call.block_table + task.sequence * call.table_row;
  return {call.block_table ? load<1>(row + page * call.table_column)[0] : page, at - page * call.block_size.divisor};
}

// What a thread of those who load knows of a tile: its own keys' slots, and which of them come in boxes. Of interleaved
// keys more are looked for than rows see, from `seen_from` on.
template <int Keys>
struct TileSlots {
  static constexpr int kMine = (Keys + device::kWarpgroup - 1) / device::kWarpgroup;
  static_assert(Keys % kBoxKeys == 0);
  KeySlot slot[kMine];
  bool boxed[kMine], all_boxed;
  int thread;

  template <class T>
  OPSWAP_DEVICE TileSlots(const AttentionCall<T> &call, const AttentionTask &task, int seen_from, int first, bool there,
                          int thread_of)
      : all_boxed(call.boxed && first >= seen_from && first + Keys <= task.last_key), thread(thread_of) {
#pragma unroll
    for (int j = 0; j < kMine; ++j) {
      const int key = first + thread + j * device::kWarpgroup, run = key - thread % kBoxKeys;
      const bool mine = there && thread + j * device::kWarpgroup < Keys;
      slot[j] = mine ? find_slot(call, task, key) : KeySlot{0, -1};
      boxed[j] = mine && call.boxed && run >= seen_from && run + kBoxKeys <= task.last_key;
    }
  }

  // Where the thread's keys are in a cache, for those who gather; with `Boxed` but for those that come in boxes.
  template <bool Boxed = true>
  OPSWAP_DEVICE void put(int64_t *places, const PagedRows &cache, int kv_head) const {
#pragma unroll
    for (int j = 0; j < kMine; ++j)
      if (const int key = thread + j * device::kWarpgroup; key < Keys)
        store_shared(places + key, Vec<int64_t, 1>{Boxed && boxed[j] ? kComesBoxed : slot[j].in(cache, kv_head)});
  }

  // A thread of the warp that has a box's keys asks for it: `Boxes` boxes of rows of `RowBytes` bytes, `elements` in
  // each.
  template <int RowBytes, int Boxes>
  OPSWAP_DEVICE void ask(unsigned char *to, const sm90::TensorMap &map, sm90::Mbarrier &there, int elements,
                         int kv_head) const {
#pragma unroll
    for (int i = 0; i < kMine * device::kWarp / kBoxKeys; ++i) {
      const int j = i / 2, lane = i % 2 * kBoxKeys,
                key = j * device::kWarpgroup + thread / device::kWarp * device::kWarp;
      const bool mine = __shfl_sync(device::kAllLanes, int(boxed[j]), lane);
      const int block = __shfl_sync(device::kAllLanes, slot[j].block, lane),
                at = __shfl_sync(device::kAllLanes, slot[j].slot, lane);
      if (!mine || !sm90::elect_one()) continue;
      sm90::mbarrier_expect(there, Boxes * kBoxKeys * RowBytes);
#pragma unroll
      for (int box = 0; box < Boxes; ++box)
        sm90::tma_load(to + (box * Keys + key + lane) * RowBytes, &map, there, box * elements, at, kv_head, block);
    }
  }
};

// On the host: boxes of `columns` elements of 16 slots of a head, or false where no map describes the cache.
inline bool encode_pages(sm90::TensorMap &map, const PagedRows &rows, sm90::MapType type, int element, int columns,
                         sm90::MapSwizzle swizzle) {
  if (!rows.aligned || !rows.blocks || !rows.heads || !rows.slots || !rows.bytes) return false;
  const int64_t whole = (rows.bytes + 15) / 16 * 16;
  const auto stride = [&](int64_t count, int64_t bytes) { return uint64_t(count > 1 ? bytes : whole); };
  sm90::TensorMapSpec spec{type, 4, rows.data};
  const uint64_t shape[] = {uint64_t(rows.bytes / element), uint64_t(rows.slots), uint64_t(rows.heads),
                            uint64_t(rows.blocks)};
  const uint64_t strides[] = {stride(rows.slots, rows.slot), stride(rows.heads, rows.head),
                              stride(rows.blocks, rows.block)};
  const uint32_t box[] = {uint32_t(columns), kBoxKeys, 1, 1};
  std::copy(std::begin(shape), std::end(shape), spec.shape);
  std::copy(std::begin(strides), std::end(strides), spec.stride);
  std::copy(std::begin(box), std::end(box), spec.box);
  spec.swizzle = swizzle, spec.promotion = sm90::MapPromotion::b256;
  return !sm90::encode(map, spec);
}

// The call with maps for a kernel's memory, where pages are multiples of 16 slots, or slots follow one another.
template <class Memory, class T>
AttentionCall<T> with_boxes(AttentionCall<T> call) {
  constexpr auto kNumbers = std::is_same_v<T, bf16> ? sm90::MapType::bf16 : sm90::MapType::f16;
  if (call.block_table ? call.keys.slots % kBoxKeys != 0 : call.keys.blocks != 1) return call;
  if constexpr (Memory::kCodes) {
    call.boxed = encode_pages(call.key_map, call.keys, sm90::MapType::u8, 1, Memory::kRowBytes,
                              Memory::kRowBytes == 128 ? sm90::MapSwizzle::b128 : sm90::MapSwizzle::b64);
  } else {
    const auto encode = [&](sm90::TensorMap &map, const PagedRows &rows, int features) {
      return call.codes ? encode_pages(map, rows, sm90::MapType::u8, 1, features, sm90::MapSwizzle::none)
                        : encode_pages(map, rows, kNumbers, 2, kBoxElements, sm90::MapSwizzle::b128);
    };
    call.boxed =
        encode(call.key_map, call.keys, Memory::kHead) && encode(call.value_map, call.values, Memory::kValueHead);
  }
  return call;
}

}  // namespace opswap
