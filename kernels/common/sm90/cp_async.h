// Copies of 4, 8 or 16 bytes from global to shared memory that the thread does not wait for, in groups.
#pragma once

#include "common/sm90/mbarrier.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

template <int Bytes>
OPSWAP_DEVICE void cp_async(void *smem, const void *global, uint32_t valid = Bytes) {
  emu::cp_async(smem, global, Bytes, valid);
}
OPSWAP_DEVICE void cp_async_commit() { emu::cp_async_commit(); }
template <int Pending = 0>
OPSWAP_DEVICE void cp_async_wait() {
  emu::cp_async_wait(Pending);
}
OPSWAP_DEVICE void cp_async_arrive(Mbarrier &barrier) { emu::cp_async_arrive(&barrier); }

#else

// Of the bytes only the first `valid` are read; the others become 0.
template <int Bytes>
OPSWAP_DEVICE void cp_async(void *smem, const void *global, uint32_t valid = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async moves 4, 8 or 16 bytes");
  if constexpr (Bytes == 16)  // past L1, which only this width can
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_address(smem)), "l"(global), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem_address(smem)), "l"(global), "n"(Bytes),
                 "r"(valid)
                 : "memory");
}
OPSWAP_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `Pending` of this thread's groups are still on their way.
template <int Pending = 0>
OPSWAP_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}
// This thread's arrival at the barrier happens when its copies so far have; it counts among the barrier's arrivals.
OPSWAP_DEVICE void cp_async_arrive(Mbarrier &barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(smem_address(&barrier)) : "memory");
}

#endif

}  // namespace opswap::sm90
