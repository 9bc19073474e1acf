// How long a copy's lines are to stay in L2, as an argument of the copies of tma.h: `first` for what is read once,
// `last` for what many blocks read again, `unchanged` for what keeps the place it has.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

enum class Evict { normal, first, last, unchanged };

#ifndef OPSWAP_EMULATE

// Not volatile: a loop of copies makes its policy once.
template <Evict Order>
OPSWAP_DEVICE uint64_t cache_policy() {
  static_assert(Order != Evict::normal, "a copy without a hint needs no policy");
  uint64_t policy;
  if constexpr (Order == Evict::first)
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  else if constexpr (Order == Evict::last)
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  else
    asm("createpolicy.fractional.L2::evict_unchanged.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// asm of a copy `OPCODE OPERANDS;`, with the hint as the operand `POLICY` behind the others where `Order` is one.
#define OPSWAP_HINTED_COPY(OPCODE, OPERANDS, POLICY, ...)                                                     \
  if constexpr (Order == Evict::normal)                                                                       \
    asm volatile(OPCODE " " OPERANDS ";" ::__VA_ARGS__ : "memory");                                           \
  else                                                                                                        \
    asm volatile(OPCODE ".L2::cache_hint " OPERANDS ", " POLICY ";" ::__VA_ARGS__, "l"(cache_policy<Order>()) \
                 : "memory")

#endif

}  // namespace opswap::sm90
