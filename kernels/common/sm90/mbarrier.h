// mbarrier: threads and asynchronous copies arrive, threads wait for the phase of a parity.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

using Mbarrier = uint64_t;  // in shared memory

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE uint32_t smem_address(const void *p) { return emu::smem_address(p); }
OPSWAP_DEVICE void mbarrier_init(Mbarrier &b, uint32_t arrivals) { emu::mbarrier_init(&b, arrivals); }
OPSWAP_DEVICE void mbarrier_inval(Mbarrier &b) { emu::mbarrier_inval(&b); }
OPSWAP_DEVICE void mbarrier_arrive(Mbarrier &b) { emu::mbarrier_arrive(&b, 1, 0); }
OPSWAP_DEVICE void mbarrier_arrive_expect(Mbarrier &b, uint32_t bytes) { emu::mbarrier_arrive(&b, 1, bytes); }
OPSWAP_DEVICE void mbarrier_expect(Mbarrier &b, uint32_t bytes) { emu::mbarrier_expect(&b, bytes); }
OPSWAP_DEVICE bool mbarrier_test(Mbarrier &b, uint32_t parity) { return emu::mbarrier_test(&b, parity); }
OPSWAP_DEVICE void mbarrier_wait(Mbarrier &b, uint32_t parity) { emu::mbarrier_wait(&b, parity); }
OPSWAP_DEVICE void fence_mbarrier_init() {}

#else

OPSWAP_DEVICE uint32_t smem_address(const void *p) { return uint32_t(__cvta_generic_to_shared(p)); }
OPSWAP_DEVICE void mbarrier_init(Mbarrier &b, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_address(&b)), "r"(arrivals) : "memory");
}
OPSWAP_DEVICE void mbarrier_inval(Mbarrier &b) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(smem_address(&b)) : "memory");
}
OPSWAP_DEVICE void mbarrier_arrive(Mbarrier &b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_address(&b)) : "memory");
}
// One arrival, and `bytes` that copies will bring.
OPSWAP_DEVICE void mbarrier_arrive_expect(Mbarrier &b, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_address(&b)), "r"(bytes) : "memory");
}
OPSWAP_DEVICE void mbarrier_expect(Mbarrier &b, uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(smem_address(&b)), "r"(bytes)
               : "memory");
}
OPSWAP_DEVICE bool mbarrier_test(Mbarrier &b, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(done)
      : "r"(smem_address(&b)), "r"(parity)
      : "memory");
  return done;
}
OPSWAP_DEVICE void mbarrier_wait(Mbarrier &b, uint32_t parity) {
  while (!mbarrier_test(b, parity)) {
  }
}
// Initialised barriers are seen by the asynchronous proxy and by the cluster only after this.
OPSWAP_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

#endif

}  // namespace opswap::sm90
