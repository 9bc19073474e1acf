// Named barriers 0 to 15 (0 is that of __syncthreads) over whole warps, and registers handed between warpgroups.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::device {

// Registers of a thread that a warpgroup may ask for.
template <int Registers>
inline constexpr bool kCanHave = Registers % 8 == 0 && Registers >= 24 && Registers <= 256;

}  // namespace opswap::device

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE void barrier_sync(uint32_t id, uint32_t threads) { emu::barrier(id, threads); }
OPSWAP_DEVICE void barrier_arrive(uint32_t id, uint32_t threads) { emu::barrier(id, threads, false); }
template <int Registers>
OPSWAP_DEVICE void registers_grow() {
  static_assert(device::kCanHave<Registers>);
  emu::set_registers(Registers, true);
}
template <int Registers>
OPSWAP_DEVICE void registers_shrink() {
  static_assert(device::kCanHave<Registers>);
  emu::set_registers(Registers, false);
}

#else

OPSWAP_DEVICE void barrier_sync(uint32_t id, uint32_t threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
OPSWAP_DEVICE void barrier_arrive(uint32_t id, uint32_t threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
template <int Registers>
OPSWAP_DEVICE void registers_grow() {
  static_assert(device::kCanHave<Registers>);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
OPSWAP_DEVICE void registers_shrink() {
  static_assert(device::kCanHave<Registers>);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

#endif

}  // namespace opswap::sm90
