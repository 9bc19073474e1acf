// The arithmetic of products: what two warpgroups do with the stages of a task. Each has
//   kReaders             arrivals after which a stage may be filled again
//   sum(s, sums, ...)    adds the products of a task's steps to the sums that a thread holds
#pragma once

#include "common/device/product_ring.h"

namespace opswap {

// One stage: d (+)= first * second, as a group of products that is under way afterwards.
template <sm90::MatrixType Type, class Memory>
OPSWAP_DEVICE void multiply_stage(Memory &s, float (&d)[Memory::kHeld], const RingAt<Memory::kStages> &at,
                                  const RingOperands<Memory> &operands, bool adds) {
  sm90::mbarrier_wait(s.full[at.stage], at.phase);
  sm90::wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kStepBytes; i += 32)
    sm90::wgmma<Memory::kColumns, Type>(d, operands.a(at.stage, i), operands.b(at.stage, i), adds || i > 0);
  sm90::wgmma_commit();
}

// Sums over all of K in the tensor cores.
template <sm90::MatrixType Type>
struct Accumulate {
  static constexpr int kReaders = kProductMultiplying / device::kWarpgroup;

  // While one stage is waited for the group of the one before is under way, so that is given back once the next group
  // is issued.
  template <class Memory>
  OPSWAP_DEVICE void sum(Memory &s, float (&d)[Memory::kHeld], RingAt<Memory::kStages> &at, int begin, int end,
                         int thread) const {
    if (begin == end) return;
    const RingOperands<Memory> operands(s, thread);
    const bool gives_back = thread % device::kWarpgroup == 0;
    sm90::operand_fence(d);  // what the sums start as is there before the first product
    multiply_stage<Type>(s, d, at, operands, true);
    int before = at.stage;
    at.next();
    for (int k = begin + 1; k < end; ++k, at.next()) {
      multiply_stage<Type>(s, d, at, operands, true);
      sm90::wgmma_wait<1>();
      if (gives_back) sm90::mbarrier_arrive(s.empty[before]);
      before = at.stage;
    }
    sm90::wgmma_wait();
    sm90::operand_fence(d);
    if (gives_back) sm90::mbarrier_arrive(s.empty[before]);
  }
};

// What a stage's products are multiplied by where nothing is: a room with scales has its own.
struct NoFactors {
  template <class Memory>
  OPSWAP_DEVICE NoFactors(const Memory &, int, int) {}
  OPSWAP_DEVICE float add(float sum, float d, int) const { return sum + d; }
};

// Sums of 128 bytes of K in the tensor cores, whose FP8 sums have about 14 bits; the rest in float32, each stage's
// times its Factors.
template <sm90::MatrixType Type, class Factors = NoFactors>
struct Promote {
  static constexpr int kReaders = kProductMultiplying / device::kWarp;

  // sums += d times its factors; then the stage may be filled again.
  template <class Memory>
  static OPSWAP_DEVICE void promote(Memory &s, float (&sums)[Memory::kHeld], float (&d)[Memory::kHeld],
                                    const Factors &factors, int stage) {
    sm90::operand_fence(d);
    __syncwarp();  // all lanes have read their factors
    if (threadIdx.x % device::kWarp == 0) sm90::mbarrier_arrive(s.empty[stage]);
#pragma unroll
    for (int i = 0; i < Memory::kHeld; ++i) sums[i] = factors.add(sums[i], d[i], i);
  }

  // By pairs: two groups of products are issued, and the first is added up while the second is under way. Nothing is
  // under way from one pair to the next; the other warpgroup has the tensor cores then.
  template <class Memory>
  OPSWAP_DEVICE void sum(Memory &s, float (&sums)[Memory::kHeld], RingAt<Memory::kStages> &at, int begin, int end,
                         int thread) const {
    const RingOperands<Memory> operands(s, thread);
    float d[2][Memory::kHeld];
    int k = begin;
    for (; k + 1 < end; k += 2) {
      const int first = at.stage;
      sm90::operand_fence(d[0]);
      multiply_stage<Type>(s, d[0], at, operands, false);
      at.next();
      const int second = at.stage;
      sm90::operand_fence(d[1]);
      multiply_stage<Type>(s, d[1], at, operands, false);
      at.next();
      const Factors of_first(s, first, thread), of_second(s, second, thread);
      sm90::wgmma_wait<1>();
      promote(s, sums, d[0], of_first, first);
      sm90::wgmma_wait();
      promote(s, sums, d[1], of_second, second);
    }
    if (k < end) {
      sm90::operand_fence(d[0]);
      multiply_stage<Type>(s, d[0], at, operands, false);
      const Factors factors(s, at.stage, thread);
      sm90::wgmma_wait();
      promote(s, sums, d[0], factors, at.stage);
      at.next();
    }
  }
};

}  // namespace opswap
