// How attention's operands come to shared memory: queries once, keys and values tile by tile into a ring. Pages may be
// of any size, so rows are gathered in pieces of 16 bytes; slots that no row sees are zeros and are not read.
#pragma once

#include "common/device/attention_rows.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/wgmma.h"

namespace opswap {

// Rows of 64 elements of 16 bits, 128 bytes, with the swizzle of that width: so many boxes for a head.
inline constexpr int kBoxElements = 64, kBoxRowBytes = 128, kPieceBytes = 16;

// Keys and values, a tile of each in a stage, and who says what of them.
template <int Head, int Groups>
struct AttentionRing {
  static constexpr int kHead = Head, kKeys = 128, kStages = 2, kBoxes = Head / kBoxElements;
  static constexpr int kMultiplying = Groups * device::kWarpgroup, kThreads = kMultiplying + device::kWarpgroup;
  alignas(1024) unsigned char keys[kStages][kBoxes][kKeys * kBoxRowBytes];
  alignas(1024) unsigned char values[kStages][kBoxes][kKeys * kBoxRowBytes];
  sm90::Mbarrier full_keys[kStages], full_values[kStages], empty_keys[kStages], empty_values[kStages];
};

// With 64 rows of queries for each warpgroup.
template <int Head, int Groups>
struct AttentionMemory : AttentionRing<Head, Groups> {
  static constexpr int kRows = 64 * Groups;
  alignas(1024) unsigned char query[AttentionRing<Head, Groups>::kBoxes][kRows * kBoxRowBytes];
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

// A warpgroup brings its 64 rows of queries; those beyond the task's are zeros.
template <class Memory, class T>
OPSWAP_DEVICE void load_queries(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int thread) {
  constexpr int kPieces = Memory::kHead * int(sizeof(T)) / kPieceBytes, kAtOnce = device::kWarpgroup / kPieces;
  const int group = thread / device::kWarpgroup, piece = thread % kPieces;
#pragma unroll
  for (int i = 0; i < 64; i += kAtOnce) {
    const int row = group * 64 + i + thread % device::kWarpgroup / kPieces;
    const bool there = row < task.rows;
    const T *from = call.query.data + (there ? place_of(call, call.query, task, row) : 0);
    sm90::cp_async<16>(s.query[0] + swizzled(Memory::kRows, row, piece), from + piece * (kPieceBytes / int(sizeof(T))),
                       there ? 16 : 0);
  }
  sm90::cp_async_commit();
  sm90::cp_async_wait();
  sm90::fence_async_proxy();
  sm90::barrier_sync(1 + uint32_t(group), device::kWarpgroup);
}

// The warpgroup that loads asks for all pieces of keys, or values, [first, first + kKeys).
template <class Memory, class T>
OPSWAP_DEVICE void ask_for_rows(unsigned char *to, const PagedRows<T> &cache, const AttentionCall<T> &call,
                                const AttentionTask &task, int first, int thread) {
  constexpr int kPieces = Memory::kHead * int(sizeof(T)) / kPieceBytes, kAtOnce = device::kWarpgroup / kPieces;
  const int piece = thread % kPieces;
  const T *head = cache.data + int64_t(task.kv_head) * cache.head + piece * (kPieceBytes / int(sizeof(T)));
  const int32_t *table = call.block_table + int64_t(task.sequence) * call.table_row;
#pragma unroll 4
  for (int i = thread / kPieces; i < Memory::kKeys; i += kAtOnce) {
    const int key = first + i;
    const bool there = key >= task.first_key && key < task.last_key;
    const int64_t block = there ? load<1>(table + int64_t(key / call.block_size) * call.table_column)[0] : 0;
    const T *from = head + block * cache.block + int64_t(key % call.block_size) * cache.slot;
    sm90::cp_async<16>(to + swizzled(Memory::kKeys, i, piece), there ? from : head, there ? 16 : 0);
  }
  sm90::cp_async_commit();
}

// Says of copies that were asked for `Behind` groups ago that they are there: wgmma reads past the caches of ordinary
// accesses, so that whoever copied has to say it.
template <int Behind>
OPSWAP_DEVICE void tell(sm90::Mbarrier &full) {
  sm90::cp_async_wait<Behind>();
  sm90::fence_async_proxy();
  sm90::mbarrier_arrive(full);
}

// `tiles` tiles of keys and values of a task, in order; `before` is how many the ring had. What was asked for is told
// one group later.
template <class Memory, class T>
OPSWAP_DEVICE void load_tiles(Memory &s, const AttentionCall<T> &call, const AttentionTask &task, int first, int tiles,
                              int before, int thread) {
  for (int count = before; count < before + tiles; ++count) {
    const int stage = count % Memory::kStages, key = (first + count - before) * Memory::kKeys;
    const uint32_t phase = uint32_t(count / Memory::kStages) & 1;
    sm90::mbarrier_wait(s.empty_keys[stage], phase ^ 1);
    ask_for_rows<Memory>(s.keys[stage][0], call.keys, call, task, key, thread);
    if (count > before) tell<1>(s.full_values[(count - 1) % Memory::kStages]);
    sm90::mbarrier_wait(s.empty_values[stage], phase ^ 1);
    ask_for_rows<Memory>(s.values[stage][0], call.values, call, task, key, thread);
    tell<1>(s.full_keys[stage]);
  }
  if (tiles) tell<0>(s.full_values[(before + tiles - 1) % Memory::kStages]);
}

}  // namespace opswap
