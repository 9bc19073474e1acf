// Loads and stores of 8 and 16 bytes of global memory, each one instruction: a plain access to a uint4 is taken apart
// by the compiler where it knows the parts (test/static).
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

// A word that repeats these bits.
template <class Word>
OPSWAP_DEVICE Word repeated(uint32_t bits) {
  if constexpr (sizeof(Word) == 16)
    return {bits, bits, bits, bits};
  else if constexpr (sizeof(Word) == 8)
    return {bits, bits};
  else
    return Word(bits);
}

// The word at p where `there`, else these bits again and again; p is not looked at then.
template <class Word>
OPSWAP_DEVICE Word global_load_if(bool there, const Word *p, uint32_t otherwise);

#ifdef OPSWAP_EMULATE

template <class Word>
OPSWAP_DEVICE Word global_load(const Word *p) {
  emu::access_global(p, sizeof(Word), emu::Access::kLoad);
  return *p;
}
template <class Word>
OPSWAP_DEVICE Word global_load_if(bool there, const Word *p, uint32_t otherwise) {
  return there ? global_load(p) : repeated<Word>(otherwise);
}
template <class Word>
OPSWAP_DEVICE void global_store(Word *p, const Word &word) {
  emu::access_global(p, sizeof(Word), emu::Access::kStore);
  *p = word;
}

#else

template <class Word>
OPSWAP_DEVICE Word global_load(const Word *p) {
  return *p;
}
template <>
OPSWAP_DEVICE uint2 global_load(const uint2 *p) {
  uint2 word;
  asm volatile("ld.global.v2.u32 {%0, %1}, [%2];"
               : "=r"(word.x), "=r"(word.y)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return word;
}
template <>
OPSWAP_DEVICE uint4 global_load(const uint4 *p) {
  uint4 word;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)
               : "l"(__cvta_generic_to_global(p))
               : "memory");
  return word;
}
template <class Word>
OPSWAP_DEVICE Word global_load_if(bool there, const Word *p, uint32_t otherwise) {
  return there ? global_load(p) : repeated<Word>(otherwise);
}
// In one piece: where the compiler knows of two words that are one, it takes both apart and so waits for the load.
template <>
OPSWAP_DEVICE uint4 global_load_if(bool there, const uint4 *p, uint32_t otherwise) {
  uint4 word;
  asm volatile(
      "{.reg .pred there;\n"
      "setp.ne.u32 there, %5, 0;\n"
      "mov.u32 %0, %6;\n"
      "mov.u32 %1, %6;\n"
      "mov.u32 %2, %6;\n"
      "mov.u32 %3, %6;\n"
      "@there ld.global.v4.u32 {%0, %1, %2, %3}, [%4];}"
      : "=&r"(word.x), "=&r"(word.y), "=&r"(word.z), "=&r"(word.w)
      : "l"(__cvta_generic_to_global(p)), "r"(uint32_t(there)), "r"(otherwise)
      : "memory");
  return word;
}
template <class Word>
OPSWAP_DEVICE void global_store(Word *p, const Word &word) {
  *p = word;
}
template <>
OPSWAP_DEVICE void global_store(uint2 *p, const uint2 &word) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(p)), "r"(word.x), "r"(word.y)
               : "memory");
}
template <>
OPSWAP_DEVICE void global_store(uint4 *p, const uint4 &word) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)), "r"(word.x), "r"(word.y),
               "r"(word.z), "r"(word.w)
               : "memory");
}

#endif

}  // namespace opswap::sm90
