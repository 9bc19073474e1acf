// C[M, N] = A[M, K] * B[N, K]^T of bf16 or FP8, warp-specialised: one warp loads by TMA into a ring of stages, two
// warpgroups multiply 64 rows each.
#pragma once

#include "common/device/layout.h"
#include "common/sm90/barrier.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"

namespace opswap::sm90 {

using device::kWarp, device::kWarpgroup;

struct GemmTile {
  static constexpr int kRows = 128, kColumns = 128, kRowBytes = 128, kStages = 3, kThreads = 384;
  static constexpr uint32_t kBytes = (kRows + kColumns) * kRowBytes;
  alignas(1024) unsigned char a[kStages][kRows * kRowBytes];
  alignas(1024) unsigned char b[kStages][kColumns * kRowBytes];
  Mbarrier full[kStages], empty[kStages];
};

OPSWAP_DEVICE void gemm_load(GemmTile &s, const TensorMap &a, const TensorMap &b, int steps, int step_elements) {
  for (int k = 0; k < steps; ++k) {
    const int stage = k % GemmTile::kStages;
    if (k >= GemmTile::kStages) mbarrier_wait(s.empty[stage], (k / GemmTile::kStages - 1) & 1);
    mbarrier_arrive_expect(s.full[stage], GemmTile::kBytes);
    tma_load(s.a[stage], &a, s.full[stage], k * step_elements, int(blockIdx.y) * GemmTile::kRows);
    tma_load(s.b[stage], &b, s.full[stage], k * step_elements, int(blockIdx.x) * GemmTile::kColumns);
  }
}

template <MatrixType Type>
OPSWAP_DEVICE void gemm_multiply(GemmTile &s, float (&d)[GemmTile::kColumns / 2], int steps, int group) {
  for (int k = 0; k < steps; ++k) {
    const int stage = k % GemmTile::kStages;
    mbarrier_wait(s.full[stage], k / GemmTile::kStages & 1);
    const uint64_t a = matrix_descriptor(&s.a[stage][group * 64 * GemmTile::kRowBytes], MatrixSwizzle::b128, 1024);
    const uint64_t b = matrix_descriptor(s.b[stage], MatrixSwizzle::b128, 1024);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < GemmTile::kRowBytes; i += 32)
      wgmma<GemmTile::kColumns, Type>(d, advance(a, i), advance(b, i), k + i > 0);
    wgmma_commit();
    wgmma_wait();
    if (threadIdx.x % kWarpgroup == 0) mbarrier_arrive(s.empty[stage]);
  }
}

template <MatrixType Type>
__global__ void __launch_bounds__(GemmTile::kThreads, 1)
    gemm_example(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float *c, int m, int n,
                 int steps) {
  OPSWAP_SMEM(GemmTile, s);
  const int group = int(threadIdx.x) / kWarpgroup;
  if (threadIdx.x == 0) {
    for (int i = 0; i < GemmTile::kStages; ++i) mbarrier_init(s.full[i], 1), mbarrier_init(s.empty[i], 2);
    fence_mbarrier_init();
  }
  __syncthreads();
  constexpr int kStepElements = GemmTile::kRowBytes / (Type == MatrixType::bf16 ? 2 : 1);
  if (group == 2) {
    registers_shrink<40>();
    if (threadIdx.x % kWarpgroup < kWarp && elect_one()) gemm_load(s, a, b, steps, kStepElements);
    return;
  }
  registers_grow<232>();
  float d[GemmTile::kColumns / 2] = {};
  gemm_multiply<Type>(s, d, steps, group);
  using Held = Accumulator<GemmTile::kColumns>;
  const int row = int(blockIdx.y) * GemmTile::kRows + group * 64, column = int(blockIdx.x) * GemmTile::kColumns;
  const int thread = int(threadIdx.x) % kWarpgroup;
#pragma unroll
  for (int i = 0; i < GemmTile::kColumns / 2; ++i) {
    const int r = row + Held::row(thread, i), col = column + Held::column(thread, i);
    if (r < m && col < n) c[int64_t(r) * n + col] = d[i];
  }
}

}  // namespace opswap::sm90
