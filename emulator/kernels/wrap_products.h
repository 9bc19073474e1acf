// Every wgmma of one width: 2 * A * B^T, 64 rows, in the kind that is asked for.
#pragma once

#include "common/sm90/wgmma.h"

namespace opswap::sm90 {

// `kKinds` numbers: operands of 16 bits with A in shared memory (4 pairs of majors), then in registers (2); FP8 pairs.
inline constexpr int kKindsOf16 = 6, kKindsOf8 = 8, kKinds = 2 * kKindsOf16 + kKindsOf8;

struct ProductTile {
  alignas(128) unsigned char a[64 * 32], b[256 * 32];
};

// Rows of 32 bytes to unswizzled shared memory: matrices of 8 x 16 bytes, two for each 8 rows. MN-major ones hold 8 of
// K in rows of 8 M or N.
OPSWAP_DEVICE void place(unsigned char *to, const unsigned char *from, int rows, Major major) {
  for (int i = int(threadIdx.x); i < rows * 16; i += int(blockDim.x)) {
    const int row = i / 16, k = i % 16;  // in units of 2 bytes
    const int inside = major == Major::k ? row % 8 * 8 + k % 8 : k % 8 * 8 + row % 8;
    reinterpret_cast<uint16_t *>(to)[row / 8 * 128 + k / 8 * 64 + inside] = reinterpret_cast<const uint16_t *>(from)[i];
  }
}

// A of the thread and both descriptors.
struct ProductOperands {
  uint32_t r[4];
  uint64_t a, b;
};

template <int N, MatrixType A, MatrixType B, Major MajorA, Major MajorB, bool InRegisters>
OPSWAP_DEVICE void product(float (&d)[N / 2], const ProductOperands &p) {
  wgmma_fence();
#pragma unroll 1
  for (int i = 0; i < 2; ++i)
    if constexpr (InRegisters)
      wgmma<N, A, B, MajorA, MajorB>(d, p.r, p.b, i > 0);
    else
      wgmma<N, A, B, MajorA, MajorB>(d, p.a, p.b, i > 0);
  wgmma_commit();
  wgmma_wait();
}

template <int N, MatrixType Type>
OPSWAP_DEVICE void product16(float (&d)[N / 2], const ProductOperands &p, int kind) {
  constexpr Major k = Major::k, mn = Major::mn;
  if (kind == 0) product<N, Type, Type, k, k, false>(d, p);
  if (kind == 1) product<N, Type, Type, mn, k, false>(d, p);
  if (kind == 2) product<N, Type, Type, k, mn, false>(d, p);
  if (kind == 3) product<N, Type, Type, mn, mn, false>(d, p);
  if (kind == 4) product<N, Type, Type, k, k, true>(d, p);
  if (kind == 5) product<N, Type, Type, k, mn, true>(d, p);
}

template <int N, MatrixType A, MatrixType B>
OPSWAP_DEVICE void product8(float (&d)[N / 2], const ProductOperands &p, int kind) {
  if (kind == 0) product<N, A, B, Major::k, Major::k, false>(d, p);
  if (kind == 1) product<N, A, B, Major::k, Major::k, true>(d, p);
}

// out[64][N]; `a` and `b` are rows of 32 bytes.
template <int N>
__global__ void __launch_bounds__(128)
    wrap_product(float *out, const unsigned char *a, const unsigned char *b, int kind) {
  OPSWAP_SMEM(ProductTile, s);
  constexpr MatrixType e4m3 = MatrixType::e4m3, e5m2 = MatrixType::e5m2;
  const int fp8 = kind - 2 * kKindsOf16, of16 = fp8 < 0 ? kind % kKindsOf16 : 0;
  place(s.a, a, 64, of16 == 1 || of16 == 3 ? Major::mn : Major::k);
  place(s.b, b, N, of16 == 2 || of16 == 3 || of16 == 5 ? Major::mn : Major::k);
  fence_async_proxy();
  __syncthreads();
  ProductOperands p;
  p.a = matrix_descriptor(s.a, MatrixSwizzle::none, 256, 128);
  p.b = advance(p.a, sizeof s.a);
  const int row = int(threadIdx.x) / 32 * 16 + int(threadIdx.x) % 32 / 4, column = int(threadIdx.x) % 4 * 2;
  for (int i = 0; i < 4; ++i)
    p.r[i] = reinterpret_cast<const uint32_t *>(a)[(row + i % 2 * 8) * 8 + int(threadIdx.x) % 4 + i / 2 * 4];
  float d[N / 2];
  product16<N, MatrixType::bf16>(d, p, kind);
  product16<N, MatrixType::fp16>(d, p, kind - kKindsOf16);
  product8<N, e4m3, e4m3>(d, p, fp8);
  product8<N, e4m3, e5m2>(d, p, fp8 - 2);
  product8<N, e5m2, e4m3>(d, p, fp8 - 4);
  product8<N, e5m2, e5m2>(d, p, fp8 - 6);
#pragma unroll
  for (int i = 0; i < N / 2; ++i) out[(row + i / 2 % 2 * 8) * N + column + i / 4 * 8 + i % 2] = d[i];
}

// `times` times the largest of the thread's products by `scale`, each after a wait: `Fenced` keeps the compiler from
// multiplying once, in front of the loop and so of the first wait. The descriptors name 64 rows each.
template <bool Fenced>
__global__ void __launch_bounds__(128)
    wrap_operand_fence(float *out, const unsigned char *a, const unsigned char *b, float scale, int times) {
  OPSWAP_SMEM(ProductTile, s);
  place(s.a, a, 64, Major::k);
  place(s.b, b, 64, Major::k);
  fence_async_proxy();
  __syncthreads();
  const uint64_t of_a = matrix_descriptor(s.a, MatrixSwizzle::none, 256, 128);
  float d[32];
  if constexpr (Fenced) operand_fence(d);
  wgmma_fence();
  wgmma<64, MatrixType::bf16>(d, of_a, advance(of_a, sizeof s.a), false);
  wgmma_commit();
  for (int t = 0; t < times; ++t) {
    wgmma_wait();
    if constexpr (Fenced) operand_fence(d);
    float most = d[0] * scale;
#pragma unroll
    for (int i = 1; i < 32; ++i) most = fmaxf(most, d[i] * scale);
    out[t * 128 + int(threadIdx.x)] = most;
  }
}

}  // namespace opswap::sm90
