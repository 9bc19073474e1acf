// A ring of stages between one warp that loads by TMA and two warpgroups that multiply, for products whose operands are
// rows of K. A stage has 128 bytes of each row, with the swizzle of that width.
#pragma once

#include "common/device/product_plan.h"
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

// A stage is full after TMA's one arrival and `more`, and empty after `readers` of those who multiply have said so.
template <class Memory>
OPSWAP_DEVICE void ring_init(Memory &s, int readers, int more = 0) {
  for (int i = 0; i < Memory::kStages; ++i)
    sm90::mbarrier_init(s.full[i], 1 + more), sm90::mbarrier_init(s.empty[i], readers);
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

// What this block does of the plan: tiles `tile`, `tile` + clusters, ..., and of each the steps [begin, end).
struct ProductShare {
  int tile, begin, end;
};
OPSWAP_DEVICE ProductShare share_of(const ProductPlan &plan) {
  const int rank = int(blockIdx.x) % plan.split;
  return {int(blockIdx.x) / plan.split, first_step(plan, rank), first_step(plan, rank + 1)};
}

// The warp that loads, one thread of it. `step` is what a stage has of K in elements.
template <class Memory>
OPSWAP_DEVICE void ring_load(Memory &s, const sm90::TensorMap &first,  // [rows of the first operand, K]
                             const sm90::TensorMap &second,            // [rows of the second one, K]
                             const ProductPlan &plan, ProductShare share, int step) {
  RingAt<Memory::kStages> at;
  for (int tile = share.tile; tile < plan.down * plan.across; tile += plan.clusters) {
    const auto [down, across] = tile_at(plan, tile);
    for (int k = share.begin; k < share.end; ++k, at.next()) {
      sm90::mbarrier_wait(s.empty[at.stage], at.phase ^ 1);
      sm90::mbarrier_arrive_expect(s.full[at.stage], Memory::kStageBytes);
      sm90::tma_load(s.first[at.stage], &first, s.full[at.stage], k * step, down * Memory::kRows);
      sm90::tma_load(s.second[at.stage], &second, s.full[at.stage], k * step, across * Memory::kColumns);
    }
  }
}

// Asks L2 for the weights of this block's first stages, which no kernel in front writes.
template <class Memory>
OPSWAP_DEVICE void ring_prefetch(const sm90::TensorMap &weight, const ProductPlan &plan, ProductShare share, int step) {
  const auto [down, across] = tile_at(plan, share.tile);
  const int row = Memory::kSwap ? down * Memory::kRows : across * Memory::kColumns;
  for (int k = share.begin; k < share.end && k < share.begin + Memory::kStages; ++k)
    sm90::tma_prefetch_l2(&weight, k * step, row);
}

// Why TMA cannot read the rows of a matrix, or nullptr. One row has no stride, no element no address.
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
