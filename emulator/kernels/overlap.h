// Out[64, 64] = sum over k of scale[k] * A[64, 64 of step k] * B[64, 64 of step k]^T in bf16: the product of a step
// runs while the one before it is scaled. A comes by way of registers, and two sets of registers take turns.
#pragma once

#include "common/device/layout.h"
#include "common/sm90/elect.h"
#include "common/sm90/matrix.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"

namespace opswap::sm90 {

struct OverlapTile {
  static constexpr int kRows = 64, kRowBytes = 128, kSteps = 4, kThreads = 128;
  alignas(1024) unsigned char a[kSteps][kRows * kRowBytes];
  alignas(1024) unsigned char b[kSteps][kRows * kRowBytes];
  Mbarrier full[kSteps];
};

// A of a thread for the four products of a step.
using OverlapA = uint32_t[4][4];

OPSWAP_DEVICE void overlap_fetch(const OverlapTile &s, OverlapA &a, int k) {
  const int lane = int(threadIdx.x) % 32, first = int(threadIdx.x) / 32 * 16;
  using Tile = Layout<modes({OverlapTile::kRows, 8}, {OverlapTile::kRowBytes, 16})>;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    ldmatrix(a[i], s.a[k] + Swizzle<OverlapTile::kRowBytes>::of(Tile::at(first + lane % 16, i * 2 + lane / 16)));
}

OPSWAP_DEVICE void overlap_multiply(OverlapTile &s, float (&d)[32], OverlapA &a, int k) {
  mbarrier_wait(s.full[k], 0);
  overlap_fetch(s, a, k);
  const uint64_t b = matrix_descriptor(s.b[k], MatrixSwizzle::b128, 1024);
  operand_fence(d);
  wgmma_fence();
#pragma unroll
  for (int i = 0; i < 4; ++i) wgmma<64, MatrixType::bf16>(d, a[i], advance(b, i * 32), i > 0);
  wgmma_commit();
}

OPSWAP_DEVICE void overlap_load(OverlapTile &s, const TensorMap &a, const TensorMap &b) {
  for (int k = 0; k < OverlapTile::kSteps; ++k) {
    mbarrier_arrive_expect(s.full[k], sizeof s.a[k] + sizeof s.b[k]);
    tma_load<Evict::first>(s.a[k], &a, s.full[k], k * 64, 0);
    tma_load<Evict::last>(s.b[k], &b, s.full[k], k * 64, 0);
  }
}

__global__ void __launch_bounds__(OverlapTile::kThreads)
    overlap_example(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float *scale,
                    float *out) {
  OPSWAP_SMEM(OverlapTile, s);
  if (threadIdx.x == 0) {
    for (auto &full : s.full) mbarrier_init(full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x < device::kWarp && elect_one()) overlap_load(s, a, b);
  __syncwarp();
  float sum[32] = {}, d[2][32];
  OverlapA held[2];
  overlap_multiply(s, d[0], held[0], 0);
#pragma unroll
  for (int k = 0; k < OverlapTile::kSteps; ++k) {
    const float by = scale[k];
    if (k + 1 < OverlapTile::kSteps) {
      overlap_multiply(s, d[(k + 1) % 2], held[(k + 1) % 2], k + 1);
      wgmma_wait<1>();
    } else {
      wgmma_wait();
    }
    operand_fence(d[k % 2]);
#pragma unroll
    for (int i = 0; i < 32; ++i) sum[i] += by * d[k % 2][i];
  }
  using Held = Accumulator<64>;
#pragma unroll
  for (int i = 0; i < 32; ++i) out[Held::row(threadIdx.x, i) * 64 + Held::column(threadIdx.x, i)] = sum[i];
}

}  // namespace opswap::sm90
