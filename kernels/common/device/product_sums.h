// The arithmetic of products: what warpgroups do with the stages of a task. Each has
//   kReaderThreads       how many of a block's threads give a stage back together
//   sum(s, sums, ...)    adds the products of steps [begin, end) to the sums that a thread holds
#pragma once

#include "common/device/product_ring.h"

namespace opswap {

// Box `box` of `operands`: d (+)= first * second, as a group of products that is under way afterwards.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_box(float (&d)[Memory::kHeld], int box, const RingOperands<Memory> &operands, bool adds) {
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kStepBytes; i += 32)
    sm90::wgmma<Memory::kColumns, Type>(d, operands.a(box, i), operands.b(box, i), adds || i > 0);
  sm90::wgmma_commit();
}

// Sums over all of K in the tensor cores.
template <sm90::MatrixType Type>
struct Accumulate {
  static constexpr int kReaderThreads = device::kWarpgroup;

  // While one stage is waited for the group of the one before is under way, so that is given back once the next group
  // is issued. The first pass is one like the others: with it in front, ptxas takes the stage for one that threads
  // differ in, and moves all descriptors through their registers.
  template <class Memory>
  OPSWAP_DEVICE void sum(Memory &s, float (&d)[Memory::kHeld], RingAt<Memory::kStages> &at, int begin, int end,
                         const GiveBack<Memory> &give_back, int thread) const {
    static_assert(Memory::kBoxes == 1);
    if (begin >= end) return;
    const auto operands = RingOperands<Memory>::of(s, thread);
    sm90::operand_fence(d);  // what the sums start as is there before the first product
    int before = at.stage;
    for (int k = begin; k < end; ++k, at.next()) {
      sm90::mbarrier_wait(s.full[at.stage], at.phase);
      multiply_box<Type>(d, 0, operands.at(at.stage), true);
      sm90::wgmma_wait<1>();
      if (k > begin) give_back(before);
      before = at.stage;
    }
    sm90::wgmma_wait();
    sm90::operand_fence(d);
    give_back(before);
  }
};

// What a step's products are multiplied by where nothing is: a room with scales has its own.
struct NoFactors {
  template <class Memory>
  OPSWAP_DEVICE NoFactors(const Memory &, int, int) {}
  template <int Box>
  OPSWAP_DEVICE float add(float sum, float d, int) const {
    return sum + d;
  }
};

// Sums of 128 bytes of K in the tensor cores, whose FP8 sums have about 14 bits; the rest in float32, each step's times
// its Factors. Steps go by pairs: two groups of products are issued, and the first is added up while the second is
// under way. Nothing is under way from one pair to the next; the other warpgroup has the tensor cores then.
template <sm90::MatrixType Type, class Factors = NoFactors>
struct Promote {
  static constexpr int kReaderThreads = device::kWarp;

  // A pair is a stage of two boxes, or two stages of one.
  template <class Memory>
  OPSWAP_DEVICE void sum(Memory &s, float (&sums)[Memory::kHeld], RingAt<Memory::kStages> &at, int begin, int end,
                         const GiveBack<Memory> &give_back, int thread) const {
    constexpr bool kOneStage = Memory::kBoxes == 2;
    const auto operands = RingOperands<Memory>::of(s, thread);
    float d[2][Memory::kHeld];
    for (int k = begin; k < end; k += 2) {
      const int first = at.stage;
      auto now = operands.at(first * Memory::kBoxes);
      start(s, d[0], at, 0, now);
      if (!kOneStage && k + 1 == end) return finish_last(s, sums, d[0], at, give_back, thread);
      if (!kOneStage) at.next(), now = operands.at(at.stage);
      const int second = at.stage;
      start(s, d[1], at, kOneStage, now);
      const Factors of_first(s, first, thread), of_second = kOneStage ? of_first : Factors(s, second, thread);
      at.next();
      sm90::wgmma_wait<1>();
      if (!kOneStage) through(give_back, first);
      add<0>(sums, d[0], of_first);
      sm90::wgmma_wait();
      through(give_back, second);
      add<kOneStage>(sums, d[1], of_second);
    }
  }

 private:
  template <class Memory>
  static OPSWAP_DEVICE void start(Memory &s, float (&d)[Memory::kHeld], const RingAt<Memory::kStages> &at, int box,
                                  const RingOperands<Memory> &operands) {
    if (box == 0) sm90::mbarrier_wait(s.full[at.stage], at.phase);
    sm90::operand_fence(d);
    multiply_box<Type>(d, box, operands, false);
  }
  template <class Memory>
  static OPSWAP_DEVICE void finish_last(Memory &s, float (&sums)[Memory::kHeld], float (&d)[Memory::kHeld],
                                        RingAt<Memory::kStages> &at, const GiveBack<Memory> &give_back, int thread) {
    const Factors factors(s, at.stage, thread);
    sm90::wgmma_wait();
    through(give_back, at.stage);
    add<0>(sums, d, factors);
    at.next();
  }
  template <class Memory>
  static OPSWAP_DEVICE void through(const GiveBack<Memory> &give_back, int stage) {
    __syncwarp();  // all lanes have read their factors
    give_back(stage);
  }
  template <int Box, int Held>
  static OPSWAP_DEVICE void add(float (&sums)[Held], float (&d)[Held], const Factors &factors) {
    sm90::operand_fence(d);
#pragma unroll
    for (int i = 0; i < Held; ++i) sums[i] = factors.template add<Box>(sums[i], d[i], i);
  }
};

}  // namespace opswap
