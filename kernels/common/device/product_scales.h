// Scales of codes along K: one for each token and 128 of K, one for each 128 x 128 of weights. A warp of its own brings
// those of a stage with the stage.
#pragma once

#include "common/device/product_ring.h"
#include "common/device/vec.h"
#include "common/sm90/cp_async.h"

namespace opswap {

// The ring, and with each box of a stage the scales of its 128 of K. Those of two tokens whose sums are one thread's
// lie together: eight rows apart, or with swap neighbours.
template <class Memory>
struct Scaled : Memory {
  static constexpr int kBlock = 128;
  static_assert(Memory::kStepBytes == kBlock, "a box has one scale of each row");
  static_assert(Memory::kFeatures == kBlock, "a tile has one block of weights");
  static constexpr int kBoxes = Memory::kBoxes;
  alignas(16) float token[Memory::kStages][Memory::kTokens / 2][kBoxes][2];
  alignas(8) float block[Memory::kStages][kBoxes];

  // Which two a token is of, and which it is of them.
  static __host__ __device__ constexpr int two_of(int token) {
    return Memory::kSwap ? token / 2 : token / 16 * 8 + token % 8;
  }
  static __host__ __device__ constexpr int in_two(int token) { return Memory::kSwap ? token % 2 : token / 8 % 2; }
};

struct ProductScales {
  const float *input;   // [M, groups], or [groups, M]
  const float *weight;  // [ceil(N / 128), groups], of each group of weights
  int64_t input_row, input_step, weight_row, weight_group;
  int tokens;
  const int32_t *rows = nullptr;  // which row of input a row of out is of, if it is another one

  // The row of input of row `token` of a task, or one outside.
  OPSWAP_DEVICE int row_of(const ProductTask &task, int token) const {
    return !rows ? token : token < task.token_end ? load<1>(rows + token)[0] : -1;
  }
};

// `Loads`, and the scales beside them, which TMA cannot bring: their rows start anywhere.
template <class Loads>
struct WithScales {
  Loads loads;
  ProductScales scales;
  static constexpr int kArrivals = Loads::kArrivals + device::kWarp, kRegisters = 56;

  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load(Memory &s, const Tasks &tasks, int thread) const {
    loads.load(s, tasks, thread);
    if (thread / device::kWarp == 1) load_scales(s, tasks, thread % device::kWarp);
  }
  template <class Memory>
  OPSWAP_DEVICE void prefetch(const ProductTask &task) const {
    loads.template prefetch<Memory>(task);
  }

 private:
  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load_scales(Memory &s, const Tasks &tasks, int lane) const {
    constexpr int kBoxes = Memory::kBoxes;
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
#pragma unroll 2
      for (int i = lane; i < kBoxes * Memory::kTokens; i += device::kWarp) {
        const int token = i / kBoxes, box = i % kBoxes, row = scales.row_of(task, task.token + token);
        const bool inside = uint32_t(row) < uint32_t(scales.tokens) && k + box < task.end;
        const int64_t from = inside ? row * scales.input_row + (k + box) * scales.input_step : 0;
        sm90::cp_async<4>(&s.token[stage][Memory::two_of(token)][box][Memory::in_two(token)], scales.input + from,
                          inside ? 4 : 0);
      }
      const int64_t row = task.group * scales.weight_group + task.column / Memory::kBlock * scales.weight_row;
      if (lane < kBoxes) {
        const bool inside = k + lane < task.end;
        sm90::cp_async<4>(&s.block[stage][lane], scales.weight + (inside ? row + k + lane : 0), inside ? 4 : 0);
      }
      sm90::cp_async_arrive(s.full[stage]);
    });
  }
};

// Both scales of what a thread has of a tile: of its two rows, or with swap of its columns, two of each eight.
template <bool Swap, int Columns, int Boxes = 1>
struct BlockFactors {
  static constexpr int kTwos = Swap ? Columns / 8 : 1;
  float of[Boxes][2 * kTwos];
  template <class Memory>
  OPSWAP_DEVICE BlockFactors(const Memory &s, int stage, int thread) {
    using Held = Accumulator<Columns>;
    const int in_group = thread % device::kWarpgroup, base = Swap ? 0 : thread / device::kWarpgroup * 64;
    const auto block = load_shared<Boxes>(s.block[stage]);
#pragma unroll
    for (int i = 0; i < kTwos; ++i) {
      const int token = base + (Swap ? Held::column(in_group, i * 4) : Held::row(in_group, 0));
      const auto two = load_shared<2 * Boxes>(&s.token[stage][Memory::two_of(token)][0][0]);
#pragma unroll
      for (int j = 0; j < 2 * Boxes; ++j) of[j / 2][2 * i + j % 2] = block[j / 2] * two[j];
    }
  }
  template <int Box>
  OPSWAP_DEVICE float add(float sum, float d, int value) const {
    return fmaf(d, of[Box][Swap ? value / 4 * 2 + value % 2 : value % 4 / 2], sum);
  }
};

}  // namespace opswap
