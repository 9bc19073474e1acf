// Loads of a grouped product whose rows of input lie anywhere: weights by TMA, rows by copies of 16 bytes straight into
// the swizzled stage, so nothing gathers them first. A row that is none, or outside of input, becomes zeros.
#pragma once

#include "common/device/layout.h"
#include "common/device/product_ring.h"
#include "common/device/vec.h"
#include "common/sm90/cp_async.h"

namespace opswap {

struct GatherInput {
  const unsigned char *data;  // [tokens, K]
  int64_t row_bytes;          // from row to row
  int tokens, k_bytes;
  const int32_t *rows;  // [R]: which row of input a row of out is of
};

template <class Args>
inline GatherInput gather_input(const Args &a) {
  const int64_t element = dtype_bytes(a.input.dtype), stride = a.T > 1 ? a.input.stride[0] : a.K;
  return {a.input.template as<const unsigned char>(), stride * element, int(a.T), int(a.K * element),
          a.row_indices.template as<const int32_t>()};
}

// Warp 0 brings weights and warps 2 and 3 rows; warp 1 is left to those who bring scales.
template <int Step>
struct GatherRows {
  const sm90::TensorMap &weight;  // [groups * N, K]
  const GatherInput &input;
  static constexpr int kCopying = 2 * device::kWarp, kArrivals = 1 + kCopying, kRegisters = 56;
  static constexpr int kBehind =
      2;  // stages under way before a thread says that one has come; a ring has at least two more

  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load(Memory &s, const Tasks &tasks, int thread) const {
    static_assert(Memory::kStages >= kBehind + 2);
    const int warp = thread / device::kWarp;
    if (warp == 0 && sm90::elect_one()) load_weights(s, tasks);
    if (warp >= 2) load_rows(s, tasks, thread - 2 * device::kWarp);
  }

 private:
  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load_weights(Memory &s, const Tasks &tasks) const {
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      sm90::mbarrier_arrive_expect(s.full[stage], Memory::kFeatures * Memory::kStepBytes);
      sm90::tma_load(Memory::kSwap ? s.first[stage] : s.second[stage], &weight, s.full[stage], k * Step, task.weight);
    });
  }

  // Eight threads have a row's 128 bytes.
  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load_rows(Memory &s, const Tasks &tasks, int thread) const {
    constexpr int kChunks = Memory::kStepBytes / 16, kAtOnce = kCopying / kChunks, kOwn = Memory::kTokens / kAtOnce;
    const int chunk = thread % kChunks;
    int filled = 0;
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      const int from = k * Memory::kStepBytes + chunk * 16, left = input.k_bytes - from;
      const uint32_t valid = left >= 16 ? 16 : left > 0 ? uint32_t(left) : 0;
      unsigned char *const to = Memory::kSwap ? s.second[stage] : s.first[stage];
#pragma unroll kOwn < 4 ? kOwn : 4
      for (int i = 0; i < kOwn; ++i) {  // an index is in L1 from the task's first stage on; registers are few here
        const int row = thread / kChunks + i * kAtOnce, token = task.token + row;
        const int at = token < task.token_end ? load_index(token) : -1;
        const bool inside = uint32_t(at) < uint32_t(input.tokens) && valid > 0;
        sm90::cp_async<16>(to + Swizzle<Memory::kStepBytes>::of(row * Memory::kStepBytes + chunk * 16),
                           input.data + (inside ? at * input.row_bytes + from : 0), inside ? valid : 0);
      }
      sm90::cp_async_commit();
      if (filled >= kBehind) arrive<kBehind>(s, filled - kBehind);
      ++filled;
    });
    if (filled > 1) arrive<1>(s, filled - 2);
    if (filled > 0) arrive<0>(s, filled - 1);
  }

  // The copies of the ring's stage `number` have come and are seen by those who multiply; so many later ones are not.
  template <int Later, class Memory>
  static OPSWAP_DEVICE void arrive(Memory &s, int number) {
    sm90::cp_async_wait<Later>();
    sm90::fence_async_proxy();
    sm90::mbarrier_arrive(s.full[number % Memory::kStages]);
  }
  OPSWAP_DEVICE int load_index(int token) const { return opswap::load<1>(input.rows + token)[0]; }
};

}  // namespace opswap
