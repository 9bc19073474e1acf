// A ring of stages between a warpgroup that loads and two warpgroups that multiply, for products whose operands are
// rows of K. A stage has 128 bytes of each row, with the swizzle of that width.
#pragma once

#include "common/device/product_tasks.h"
#include "common/device/scalar.h"
#include "common/sm90/elect.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"
#include "types.h"

namespace opswap {

inline constexpr int kProductMultiplying = 2 * device::kWarpgroup,
                     kProductThreads = kProductMultiplying + device::kWarpgroup;

template <int Rows, int Columns, int Stages, bool Swap>
struct ProductMemory {
  static constexpr int kRows = Rows, kColumns = Columns, kStages = Stages;
  static constexpr bool kSwap = Swap;
  static constexpr int kStepBytes = int(product::kStepBytes), kStageBytes = (Rows + Columns) * kStepBytes;
  static constexpr int kHeld = Rows / 128 * Columns / 2;  // sums that a thread has
  static constexpr int kTokens = Swap ? Columns : Rows, kFeatures = Swap ? Rows : Columns;
  // What a warp puts out at once: 16 rows of D by 64 columns, or with Swap, which turns them, 16 columns of out.
  static constexpr int kOutRowBytes = Swap ? 32 : 128, kOutRows = Swap ? Columns : 16;
  alignas(1024) unsigned char first[Stages][Rows * kStepBytes];
  alignas(1024) unsigned char second[Stages][Columns * kStepBytes];
  alignas(128) unsigned char out[kProductMultiplying / device::kWarp][kOutRows * kOutRowBytes];
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

// A stage is full after so many arrivals of those who load, and empty after so many of those who multiply.
template <class Memory>
OPSWAP_DEVICE void ring_init(Memory &s, int loads, int readers) {
  for (int i = 0; i < Memory::kStages; ++i)
    sm90::mbarrier_init(s.full[i], loads), sm90::mbarrier_init(s.empty[i], readers);
  sm90::fence_mbarrier_init();
}

// The matrix `sixteens` of 16 bytes further on in shared memory. Its addresses never carry into what is behind them in
// a descriptor, so 32 bits are added, and the rest stays a constant.
OPSWAP_DEVICE uint64_t moved(uint64_t descriptor, uint32_t sixteens) {
  return descriptor >> 32 << 32 | uint32_t(uint32_t(descriptor) + sixteens);
}

// What a warpgroup multiplies: its 64 rows of the first operand, and the second, both in stage 0.
template <class Memory>
struct RingOperands {
  uint64_t first, second;
  OPSWAP_DEVICE RingOperands(Memory &s, int thread) {
    const int group = __shfl_sync(device::kAllLanes, thread / device::kWarpgroup, 0);  // one for the warp, says this
    first = sm90::matrix_descriptor(&s.first[0][group * 64 * Memory::kStepBytes], sm90::MatrixSwizzle::b128, 1024);
    second = sm90::matrix_descriptor(s.second[0], sm90::MatrixSwizzle::b128, 1024);
  }
  // Those of 32 bytes of K of a stage.
  OPSWAP_DEVICE uint64_t a(int stage, int byte) const {
    return moved(first, uint32_t(stage) * (Memory::kRows * Memory::kStepBytes / 16) + byte / 16);
  }
  OPSWAP_DEVICE uint64_t b(int stage, int byte) const {
    return moved(second, uint32_t(stage) * (Memory::kColumns * Memory::kStepBytes / 16) + byte / 16);
  }
};

// body(task, k, stage) for each step of each task of this block, once its stage may be filled. All who load walk
// through the same stages.
template <class Memory, class Tasks, class Body>
OPSWAP_DEVICE void each_stage(Memory &s, const Tasks &tasks, Body &&body) {
  RingAt<Memory::kStages> at;
  for (int number = tasks.first(); number < tasks.end(); number += tasks.step()) {
    const ProductTask task = tasks.at(number);
    for (int k = task.begin; k < task.end; ++k, at.next()) {
      sm90::mbarrier_wait(s.empty[at.stage], at.phase ^ 1);
      body(task, k, at.stage);
    }
  }
}

// What brings both operands by TMA, as boxes of rows of [rows, K]; `Step` elements of K are a stage.
template <int Step>
struct TmaRows {
  const sm90::TensorMap &first, &second;  // input and weight, or with swap weight and input
  static constexpr int kArrivals = 1, kRegisters = 40;

  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load(Memory &s, const Tasks &tasks, int thread) const {
    if (thread / device::kWarp != 0 || !sm90::elect_one()) return;
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      sm90::mbarrier_arrive_expect(s.full[stage], Memory::kStageBytes);
      sm90::tma_load(s.first[stage], &first, s.full[stage], k * Step, Memory::kSwap ? task.weight : task.token);
      sm90::tma_load(s.second[stage], &second, s.full[stage], k * Step, Memory::kSwap ? task.token : task.weight);
    });
  }
  // Asks L2 for the weights of a task's first stages, which no kernel in front writes.
  template <class Memory>
  OPSWAP_DEVICE void prefetch(const ProductTask &task) const {
    for (int k = task.begin; k < task.end && k < task.begin + Memory::kStages; ++k)
      sm90::tma_prefetch_l2(Memory::kSwap ? &first : &second, k * Step, task.weight);
  }
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
