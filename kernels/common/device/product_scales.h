// Scales of codes along K: one for each token and 128 of K, one for each 128 x 128 of weights. A warp of its own brings
// those of a stage with the stage.
#pragma once

#include "common/device/product_ring.h"
#include "common/device/vec.h"
#include "common/sm90/cp_async.h"

namespace opswap {

// The ring, and with each stage the scales of its 128 of K.
template <class Memory>
struct Scaled : Memory {
  static constexpr int kBlock = 128;
  static_assert(Memory::kStepBytes == kBlock, "a stage has one scale of each row");
  static_assert(Memory::kFeatures == kBlock, "a tile has one block of weights");
  float token[Memory::kStages][Memory::kTokens], block[Memory::kStages];
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
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      for (int i = lane; i < Memory::kTokens; i += device::kWarp) {
        const int row = scales.row_of(task, task.token + i);
        const bool inside = uint32_t(row) < uint32_t(scales.tokens);
        const int64_t from = (inside ? row : 0) * scales.input_row + k * scales.input_step;
        sm90::cp_async<4>(&s.token[stage][i], scales.input + from, inside ? 4 : 0);
      }
      const int64_t row = task.group * scales.weight_group + task.column / Memory::kBlock * scales.weight_row;
      if (lane == 0) sm90::cp_async<4>(&s.block[stage], scales.weight + row + k);
      sm90::cp_async_arrive(s.full[stage]);
    });
  }
};

// Both scales of what a thread has of a tile: of its two rows, or with swap of its columns, two of each eight.
template <bool Swap, int Columns>
struct BlockFactors {
  static constexpr int kCount = Swap ? Columns / 4 : 2;
  float of[kCount];
  template <class Memory>
  OPSWAP_DEVICE BlockFactors(const Memory &s, int stage, int thread) {
    using Held = Accumulator<Columns>;
    const int in_group = thread % device::kWarpgroup, base = Swap ? 0 : thread / device::kWarpgroup * 64;
    const float block = load_shared<1>(&s.block[stage])[0];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int value = Swap ? i / 2 * 4 + i % 2 : i * 2;
      const int token = base + (Swap ? Held::column(in_group, value) : Held::row(in_group, value));
      of[i] = block * load_shared<1>(&s.token[stage][token])[0];
    }
  }
  OPSWAP_DEVICE float add(float sum, float d, int value) const {
    return fmaf(d, of[Swap ? value / 4 * 2 + value % 2 : value % 4 / 2], sum);
  }
};

}  // namespace opswap
