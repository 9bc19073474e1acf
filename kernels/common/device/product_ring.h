// A ring of stages between a warpgroup that loads and one or two that multiply, for products whose operands are rows of
// K. A stage has 128 bytes of each row, with the swizzle of that width.
#pragma once

#include "common/device/product_tasks.h"
#include "common/device/scalar.h"
#include "common/sm90/cluster.h"
#include "common/sm90/elect.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"
#include "types.h"

namespace opswap {

// Threads that multiply, 64 rows of the first operand for each warpgroup, and those of a block.
constexpr int product_multiplying(int rows) { return rows / 64 * device::kWarpgroup; }
constexpr int product_threads(int rows) { return product_multiplying(rows) + device::kWarpgroup; }
inline constexpr int kProductMultiplying = product_multiplying(128), kProductThreads = product_threads(128);

// A stage has `Boxes` steps of K, a box of each operand behind the other.
template <int Rows, int Columns, int Stages, bool Swap, int Boxes = 1>
struct ProductMemory {
  static constexpr int kRows = Rows, kColumns = Columns, kStages = Stages, kBoxes = Boxes;
  static constexpr bool kSwap = Swap;
  static constexpr int kStepBytes = int(product::kStepBytes), kStageBytes = (Rows + Columns) * Boxes * kStepBytes;
  static constexpr int kMultiplying = product_multiplying(Rows), kThreads = product_threads(Rows);
  static constexpr int kHeld = Columns / 2;  // sums that a thread has
  static constexpr int kTokens = Swap ? Columns : Rows, kFeatures = Swap ? Rows : Columns;
  // What a warp puts out at once: 16 rows of D by 64 columns, or with Swap, which turns them, 16 columns of out.
  static constexpr int kOutRowBytes = Swap ? 32 : 128, kOutRows = Swap ? Columns : 16;
  alignas(1024) unsigned char first[Stages][Boxes * Rows * kStepBytes];
  alignas(1024) unsigned char second[Stages][Boxes * Columns * kStepBytes];
  alignas(Swap ? 128 : 1024) unsigned char out[kMultiplying / device::kWarp][kOutRows * kOutRowBytes];
  sm90::Mbarrier full[Stages], empty[Stages];
};

// A place in the ring; the phase turns with each time round.
template <int Stages>
struct RingAt {
  int stage = 0;
  uint32_t phase = 0;
  OPSWAP_DEVICE void next() {
    if (++stage == Stages) stage = 0, phase ^= 1;
  }
};

// A stage is full after so many arrivals of those who load, and empty after so many of those who multiply, in both
// blocks of a pair: each fills a part of the other's stage.
template <class Memory>
OPSWAP_DEVICE void ring_init(Memory &s, int loads, int readers) {
  for (int i = 0; i < Memory::kStages; ++i)
    sm90::mbarrier_init(s.full[i], loads), sm90::mbarrier_init(s.empty[i], readers);
  sm90::fence_mbarrier_init();
}

// Says of stages that their readers, a warp or a warpgroup, are through with them; one thread says it to this block,
// and in a pair another one to each block.
template <class Memory>
class GiveBack {
  sm90::ClusterPtr<sm90::Mbarrier> empty;
  bool says;

 public:
  // `reader`: the thread's number among those who read together.
  OPSWAP_DEVICE GiveBack(Memory &s, int reader, int pair)
      : empty(sm90::map_shared(&s.empty[0], pair == 1 ? sm90::cluster_rank() : uint32_t(reader % 2))),
        says(reader < pair) {}
  OPSWAP_DEVICE void operator()(int stage) const {
    if (says) sm90::mbarrier_arrive_read(empty + stage);
  }
};

// What a warpgroup multiplies: its 64 rows of the first operand, and the second, both of one box of the ring.
template <class Memory>
struct RingOperands {
  uint64_t first, second;
  // Of the ring's first box.
  static OPSWAP_DEVICE RingOperands of(Memory &s, int thread) {
    const int group = thread / device::kWarpgroup;
    return {of_warp(&s.first[0][group * 64 * Memory::kStepBytes]), of_warp(s.second[0])};
  }
  // Those of 32 bytes of K of the box that lies `box` further on. All 64 bits of a descriptor are added to at once, so
  // that its high word is set once for all of them.
  OPSWAP_DEVICE uint64_t a(int box, int byte) const { return sm90::advance(first, box * kFirst * 16 + byte); }
  OPSWAP_DEVICE uint64_t b(int box, int byte) const { return sm90::advance(second, box * kSecond * 16 + byte); }
  // Those of box `box`, in registers: else the compiler adds what both operands are moved by again for each product.
  OPSWAP_DEVICE RingOperands at(int box) const {
    uint64_t moved[] = {low_moved(first, box * kFirst), low_moved(second, box * kSecond)};
    sm90::operand_fence(moved);
    return {moved[0], moved[1]};
  }

 private:
  static constexpr uint32_t kFirst = Memory::kRows * Memory::kStepBytes / 16,
                            kSecond = Memory::kColumns * Memory::kStepBytes / 16;
  // All threads of a warp have the same one. The shuffle says so, and its result is never worked out a second time.
  static OPSWAP_DEVICE uint64_t of_warp(const unsigned char *box) {
    const uint64_t descriptor = sm90::matrix_descriptor(box, sm90::MatrixSwizzle::b128, 1024);
    return high_of(descriptor) | __shfl_sync(device::kAllLanes, uint32_t(descriptor), 0);
  }
  // Addresses never carry into what is behind them in a descriptor, whose high word stays a constant.
  static OPSWAP_DEVICE uint64_t low_moved(uint64_t descriptor, uint32_t sixteens) {
    return high_of(descriptor) | uint32_t(uint32_t(descriptor) + sixteens);
  }
  static OPSWAP_DEVICE uint64_t high_of(uint64_t descriptor) { return descriptor >> 32 << 32; }
};

// body(task, k, stage) for each stage of each task of this block, which begins with step k, once it may be filled. All
// who load walk through the same stages.
template <class Memory, class Tasks, class Body>
OPSWAP_DEVICE void each_stage(Memory &s, const Tasks &tasks, Body &&body) {
  RingAt<Memory::kStages> at;
  for (int number = tasks.first(); number < tasks.end(); number += tasks.step()) {
    const ProductTask task = tasks.at(number);
    for (int k = task.begin; k < task.end; k += Memory::kBoxes, at.next()) {
      sm90::mbarrier_wait_cluster(s.empty[at.stage], at.phase ^ 1);
      body(task, k, at.stage);
    }
  }
}

// What brings both operands by TMA, as boxes of rows of [rows, K] with `Step` elements of K each. Of a pair, which has
// one second operand, each block brings half of that for both. `Registers`: of a thread that loads, for its tasks too.
template <int Step, int Registers = 40>
struct TmaRows {
  const sm90::TensorMap &first, &second;  // input and weight, or with swap weight and input
  static constexpr int kArrivals = 1, kRegisters = Registers;

  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load(Memory &s, const Tasks &tasks, int thread) const {
    if (thread / device::kWarp != 0 || !sm90::elect_one()) return;
    const int pair = tasks.pair(), half = pair == 1 ? 0 : int(sm90::cluster_rank()) * (Memory::kColumns / 2);
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      sm90::mbarrier_arrive_expect(s.full[stage], Memory::kStageBytes);
      const int down = Memory::kSwap ? task.weight : task.token, across = Memory::kSwap ? task.token : task.weight;
      for (int box = 0; box < Memory::kBoxes; ++box) {
        const int at = k + box < task.end ? (k + box) * Step : kOutside;
        unsigned char *const to_first = s.first[stage] + box * Memory::kRows * Memory::kStepBytes;
        unsigned char *const to_second = s.second[stage] + (box * Memory::kColumns + half) * Memory::kStepBytes;
        sm90::tma_load(to_first, &first, s.full[stage], at, down);
        if (pair == 1)
          sm90::tma_load(to_second, &second, s.full[stage], at, across);
        else
          sm90::tma_load_multicast(to_second, &second, s.full[stage], uint16_t(3), at, across + half);
      }
    });
  }
  // Asks L2 for the weights of a task's first stages, which no kernel in front writes.
  template <class Memory>
  OPSWAP_DEVICE void prefetch(const ProductTask &task) const {
    for (int k = task.begin; k < task.end && k < task.begin + Memory::kStages * Memory::kBoxes; ++k)
      sm90::tma_prefetch_l2(Memory::kSwap ? &first : &second, k * Step, task.weight);
  }

 private:
  static constexpr int kOutside = 1 << 30;  // an element of no row: of zeros, where a stage is longer than the task
};

// Whether TMA can read the rows of a matrix. One row has no stride, no element no address.
inline bool tma_reads(const Tensor &t) {
  if (!t.shape[0] || !t.shape[1]) return true;
  const int64_t bytes = t.stride[0] * dtype_bytes(t.dtype);
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 &&
         (t.shape[0] == 1 || (bytes % 16 == 0 && t.stride[0] >= t.shape[1]));
}

// Boxes of `rows` rows of a stage's width out of a matrix [rows, K] that tma_reads().
inline const char *encode_rows(sm90::TensorMap &map, const Tensor &t, sm90::MapType type, int rows) {
  if (!t.shape[1]) return nullptr;  // no step of K, so nothing loads
  const int64_t element = dtype_bytes(t.dtype), stride = t.shape[0] > 1 ? t.stride[0] : t.shape[1];
  sm90::TensorMapSpec spec{type, 2, t.data, {uint64_t(t.shape[1]), uint64_t(t.shape[0])}};
  spec.stride[0] = uint64_t(device::round_up<int64_t>(stride * element, 16));
  spec.box[0] = uint32_t(product::kStepBytes / element), spec.box[1] = uint32_t(rows);
  spec.swizzle = sm90::MapSwizzle::b128, spec.promotion = sm90::MapPromotion::b256;
  return sm90::encode(map, spec);
}

}  // namespace opswap
