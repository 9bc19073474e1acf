// Loads and stores of up to 16 bytes of shared memory, each one instruction (why: global.h).
#pragma once

#include "common/sm90/mbarrier.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

template <class Word>
OPSWAP_DEVICE Word shared_load(const Word *p) {
  emu::access_shared(p, sizeof(Word), emu::Access::kLoad);
  return *p;
}
template <class Word>
OPSWAP_DEVICE void shared_store(Word *p, const Word &word) {
  emu::access_shared(p, sizeof(Word), emu::Access::kStore);
  *p = word;
}

#else

template <class Word>
OPSWAP_DEVICE Word shared_load(const Word *p) {
  return *p;
}
template <>
OPSWAP_DEVICE uint2 shared_load(const uint2 *p) {
  uint2 word;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(word.x), "=r"(word.y) : "r"(smem_address(p)) : "memory");
  return word;
}
template <>
OPSWAP_DEVICE uint4 shared_load(const uint4 *p) {
  uint4 word;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)
               : "r"(smem_address(p))
               : "memory");
  return word;
}
template <class Word>
OPSWAP_DEVICE void shared_store(Word *p, const Word &word) {
  *p = word;
}
template <>
OPSWAP_DEVICE void shared_store(uint2 *p, const uint2 &word) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(smem_address(p)), "r"(word.x), "r"(word.y) : "memory");
}
template <>
OPSWAP_DEVICE void shared_store(uint4 *p, const uint4 &word) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(smem_address(p)), "r"(word.x), "r"(word.y), "r"(word.z),
               "r"(word.w)
               : "memory");
}

#endif

}  // namespace opswap::sm90
