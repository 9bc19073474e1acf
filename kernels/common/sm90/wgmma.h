// Matrix products of a warpgroup: D[64, N] (+)= A[64, 32 bytes] * B[N, 32 bytes]^T with fp32 accumulators, N every
// multiple of 8 up to 256, A in shared memory or in registers. From the product to the wgmma_wait() for it nobody else
// touches its accumulators or A registers; wgmma_fence() comes before the first product of each group.
#pragma once

#include "common/sm90/mbarrier.h"

namespace opswap::sm90 {

// How shared memory is permuted; the numbers are those of the descriptor.
enum class MatrixSwizzle : uint32_t { none = 0, b128 = 1, b64 = 2, b32 = 3 };

// Which index of an operand is contiguous. FP8 knows only `k`.
enum class Major : int { k = 0, mn = 1 };

enum class MatrixType : int { bf16, fp16, e4m3, e5m2 };

// A matrix in shared memory. K-major: `stride` is from 8 rows to the next 8, `leading` (unswizzled only) from the first
// 16 bytes of K to the second. MN-major: `stride` is from 8 of K to the next 8 and `leading` from one swizzle width of
// M or N to the next (unswizzled: the other way round).
OPSWAP_DEVICE uint64_t matrix_descriptor(const void *smem, MatrixSwizzle swizzle, uint32_t stride,
                                         uint32_t leading = 16) {
  return uint64_t(smem_address(smem) >> 4 & 0x3fff) | uint64_t(leading >> 4 & 0x3fff) << 16 |
         uint64_t(stride >> 4 & 0x3fff) << 32 | uint64_t(swizzle) << 62;
}
// The same matrix `bytes` further on, e.g. the next 32 bytes of K.
OPSWAP_DEVICE uint64_t advance(uint64_t descriptor, uint32_t bytes) { return descriptor + (bytes >> 4); }

template <int N>
struct Wgmma;

#ifdef OPSWAP_EMULATE

OPSWAP_DEVICE void wgmma_fence() { emu::wgmma_fence(); }
OPSWAP_DEVICE void wgmma_commit() { emu::wgmma_commit(); }
template <int Pending = 0>
OPSWAP_DEVICE void wgmma_wait() {
  emu::wgmma_wait(Pending);
}
OPSWAP_DEVICE void fence_async_proxy() { emu::fence_async_proxy(); }
template <class T, size_t Count>
OPSWAP_DEVICE void operand_fence(T (&)[Count]) {}

#else

// Orders earlier accesses of registers and accumulators before the products.
OPSWAP_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
OPSWAP_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most `Pending` committed groups are still running.
template <int Pending = 0>
OPSWAP_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
// What this thread wrote to shared memory by ordinary stores becomes visible to wgmma and TMA.
OPSWAP_DEVICE void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// The compiler moves no use of these accumulators or A registers over this line: arithmetic behind wgmma_wait() does
// not name the product that it waits for, and a loop is free to do it once, before the wait. No instruction.
template <size_t Count>
OPSWAP_DEVICE void operand_fence(float (&registers)[Count]) {
#pragma unroll
  for (size_t i = 0; i < Count; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}
template <size_t Count>
OPSWAP_DEVICE void operand_fence(uint32_t (&registers)[Count]) {
#pragma unroll
  for (size_t i = 0; i < Count; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}
template <size_t Count>
OPSWAP_DEVICE void operand_fence(uint64_t (&descriptors)[Count]) {
#pragma unroll
  for (size_t i = 0; i < Count; ++i) asm volatile("" : "+l"(descriptors[i])::"memory");
}

#define OPSWAP_WGMMA_BEGIN(N, SCALE) \
  "{\n.reg .pred p;\nsetp.ne.b32 p, " SCALE ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N
#define OPSWAP_WGMMA_SS(N, NAME, KIND, I0, I1, I2)                                                               \
  OPSWAP_DEVICE static void NAME(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) {                    \
    asm volatile(OPSWAP_WGMMA_BEGIN(N, I2) KIND " {" OPSWAP_WGMMA_REGISTERS_##N "}, " I0 ", " I1 ", p, 1, 1;\n}" \
                 : OPSWAP_WGMMA_OUTPUTS_##N(d)                                                                   \
                 : "l"(a), "l"(b), "r"(accumulate));                                                             \
  }
#define OPSWAP_WGMMA_SS16(N, NAME, KIND, I0, I1, I2, I3, I4)                                                      \
  template <int ATrans, int BTrans>                                                                               \
  OPSWAP_DEVICE static void NAME(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) {                     \
    asm volatile(OPSWAP_WGMMA_BEGIN(N, I2) KIND " {" OPSWAP_WGMMA_REGISTERS_##N "}, " I0 ", " I1 ", p, 1, 1, " I3 \
                                                                                ", " I4 ";\n}"                    \
                 : OPSWAP_WGMMA_OUTPUTS_##N(d)                                                                    \
                 : "l"(a), "l"(b), "r"(accumulate), "n"(ATrans), "n"(BTrans));                                    \
  }
#define OPSWAP_WGMMA_RS(N, NAME, KIND, I0, I1, I2, I3, I4, I5)                                                    \
  OPSWAP_DEVICE static void NAME(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate) {         \
    asm volatile(OPSWAP_WGMMA_BEGIN(N, I5) KIND " {" OPSWAP_WGMMA_REGISTERS_##N "}, {" I0 ", " I1 ", " I2 ", " I3 \
                                                                                "}, " I4 ", p, 1, 1;\n}"          \
                 : OPSWAP_WGMMA_OUTPUTS_##N(d)                                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                          \
  }
#define OPSWAP_WGMMA_RS16(N, NAME, KIND, I0, I1, I2, I3, I4, I5, I6)                                              \
  template <int ATrans, int BTrans>                                                                               \
  OPSWAP_DEVICE static void NAME(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate) {         \
    asm volatile(OPSWAP_WGMMA_BEGIN(N, I5) KIND " {" OPSWAP_WGMMA_REGISTERS_##N "}, {" I0 ", " I1 ", " I2 ", " I3 \
                                                                                "}, " I4 ", p, 1, 1, " I6 ";\n}"  \
                 : OPSWAP_WGMMA_OUTPUTS_##N(d)                                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(BTrans));             \
  }
#define OPSWAP_WGMMA_SHAPE(N, I0, I1, I2, I3, I4, I5, I6)                       \
  template <>                                                                   \
  struct Wgmma<N> {                                                             \
    OPSWAP_WGMMA_SS16(N, bf16, "k16.f32.bf16.bf16", I0, I1, I2, I3, I4)         \
    OPSWAP_WGMMA_SS16(N, fp16, "k16.f32.f16.f16", I0, I1, I2, I3, I4)           \
    OPSWAP_WGMMA_SS(N, e4m3_e4m3, "k32.f32.e4m3.e4m3", I0, I1, I2)              \
    OPSWAP_WGMMA_SS(N, e4m3_e5m2, "k32.f32.e4m3.e5m2", I0, I1, I2)              \
    OPSWAP_WGMMA_SS(N, e5m2_e4m3, "k32.f32.e5m2.e4m3", I0, I1, I2)              \
    OPSWAP_WGMMA_SS(N, e5m2_e5m2, "k32.f32.e5m2.e5m2", I0, I1, I2)              \
    OPSWAP_WGMMA_RS16(N, bf16, "k16.f32.bf16.bf16", I0, I1, I2, I3, I4, I5, I6) \
    OPSWAP_WGMMA_RS16(N, fp16, "k16.f32.f16.f16", I0, I1, I2, I3, I4, I5, I6)   \
    OPSWAP_WGMMA_RS(N, e4m3_e4m3, "k32.f32.e4m3.e4m3", I0, I1, I2, I3, I4, I5)  \
    OPSWAP_WGMMA_RS(N, e4m3_e5m2, "k32.f32.e4m3.e5m2", I0, I1, I2, I3, I4, I5)  \
    OPSWAP_WGMMA_RS(N, e5m2_e4m3, "k32.f32.e5m2.e4m3", I0, I1, I2, I3, I4, I5)  \
    OPSWAP_WGMMA_RS(N, e5m2_e5m2, "k32.f32.e5m2.e5m2", I0, I1, I2, I3, I4, I5)  \
  };
#include "common/sm90/wgmma_shapes.h"

#endif

// `accumulate` false overwrites the accumulators. A is a descriptor, or four registers of the thread: rows lane / 4 and
// that + 8, each in both halves of K.
template <int N, MatrixType TypeA, MatrixType TypeB = TypeA, Major MajorA = Major::k, Major MajorB = Major::k, class A>
OPSWAP_DEVICE void wgmma(float (&d)[N / 2], const A &a, uint64_t b, bool accumulate = true) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256, "N is a multiple of 8 up to 256");
  constexpr bool kWide = TypeA == MatrixType::bf16 || TypeA == MatrixType::fp16;
  constexpr bool kInRegisters = sizeof(A) == 16;
  static_assert(!kWide || TypeA == TypeB, "16-bit operands are of one type");
  static_assert(kWide || (MajorA == Major::k && MajorB == Major::k), "FP8 operands are K-major");
  static_assert(!kInRegisters || MajorA == Major::k, "A in registers has no major");
#ifdef OPSWAP_EMULATE
  emu::MatrixProduct product{d, N, int(TypeA), int(TypeB), int(MajorA), int(MajorB), accumulate, kInRegisters,
                             0, b, nullptr};
  if constexpr (kInRegisters)
    product.registers = a;
  else
    product.a = a;
  emu::wgmma(product);
#else
  using W = Wgmma<N>;
  constexpr int kTransA = int(MajorA), kTransB = int(MajorB);
  constexpr bool kA4 = TypeA == MatrixType::e4m3, kB4 = TypeB == MatrixType::e4m3;
  if constexpr (TypeA == MatrixType::bf16)
    W::template bf16<kTransA, kTransB>(d, a, b, accumulate);
  else if constexpr (TypeA == MatrixType::fp16)
    W::template fp16<kTransA, kTransB>(d, a, b, accumulate);
  else if constexpr (kA4 && kB4)
    W::e4m3_e4m3(d, a, b, accumulate);
  else if constexpr (kA4)
    W::e4m3_e5m2(d, a, b, accumulate);
  else if constexpr (kB4)
    W::e5m2_e4m3(d, a, b, accumulate);
  else
    W::e5m2_e5m2(d, a, b, accumulate);
#endif
}

}  // namespace opswap::sm90
