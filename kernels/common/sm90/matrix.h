// ldmatrix and stmatrix: `Count` matrices of 8 rows of 16 bytes between shared memory and a warp's registers. Lane i
// gives the address of row i % 8 of matrix i / 8, and holds elements 2 * (i % 4) and the next of row i / 4 of each
// matrix; with `Transposed`, of column i / 4.
#pragma once

#include "common/sm90/mbarrier.h"

namespace opswap::sm90 {

#ifdef OPSWAP_EMULATE

template <bool Transposed = false, int Count>
OPSWAP_DEVICE void ldmatrix(uint32_t (&r)[Count], const void *row) {
  static_assert(Count == 1 || Count == 2 || Count == 4, "1, 2 or 4 matrices");
  emu::ldmatrix(r, Count, Transposed, row);
}
template <bool Transposed = false, int Count>
OPSWAP_DEVICE void stmatrix(void *row, const uint32_t (&r)[Count]) {
  static_assert(Count == 1 || Count == 2 || Count == 4, "1, 2 or 4 matrices");
  emu::stmatrix(row, r, Count, Transposed);
}

#else

#define OPSWAP_MATRIX(COUNT, REGISTERS, ADDRESS, OUT, IN)                                                          \
  template <bool Transposed = false>                                                                               \
  OPSWAP_DEVICE void ldmatrix(uint32_t (&r)[COUNT], const void *row) {                                             \
    if constexpr (Transposed)                                                                                      \
      asm volatile("ldmatrix.sync.aligned.m8n8.x" #COUNT ".trans.shared.b16 {" REGISTERS "}, [" ADDRESS "];"       \
                   : OUT                                                                                           \
                   : "r"(smem_address(row))                                                                        \
                   : "memory");                                                                                    \
    else                                                                                                           \
      asm volatile("ldmatrix.sync.aligned.m8n8.x" #COUNT ".shared.b16 {" REGISTERS "}, [" ADDRESS "];"             \
                   : OUT                                                                                           \
                   : "r"(smem_address(row))                                                                        \
                   : "memory");                                                                                    \
  }                                                                                                                \
  template <bool Transposed = false>                                                                               \
  OPSWAP_DEVICE void stmatrix(void *row, const uint32_t (&r)[COUNT]) {                                             \
    if constexpr (Transposed)                                                                                      \
      asm volatile("stmatrix.sync.aligned.m8n8.x" #COUNT ".trans.shared.b16 [" ADDRESS "], {" REGISTERS "};" ::IN, \
                   "r"(smem_address(row))                                                                          \
                   : "memory");                                                                                    \
    else                                                                                                           \
      asm volatile("stmatrix.sync.aligned.m8n8.x" #COUNT ".shared.b16 [" ADDRESS "], {" REGISTERS "};" ::IN,       \
                   "r"(smem_address(row))                                                                          \
                   : "memory");                                                                                    \
  }
#define OPSWAP_COMMA ,
OPSWAP_MATRIX(1, "%0", "%1", "=r"(r[0]), "r"(r[0]))
OPSWAP_MATRIX(2, "%0, %1", "%2", "=r"(r[0])OPSWAP_COMMA "=r"(r[1]), "r"(r[0])OPSWAP_COMMA "r"(r[1]))
OPSWAP_MATRIX(4, "%0, %1, %2, %3", "%4",
              "=r"(r[0])OPSWAP_COMMA "=r"(r[1])OPSWAP_COMMA "=r"(r[2])OPSWAP_COMMA "=r"(r[3]),
              "r"(r[0])OPSWAP_COMMA "r"(r[1])OPSWAP_COMMA "r"(r[2])OPSWAP_COMMA "r"(r[3]))
#undef OPSWAP_MATRIX

#endif

}  // namespace opswap::sm90
