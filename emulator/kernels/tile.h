// Out[M, 64] = diag(scale) * A[M, 64] * B[64, 64]^T in bf16, 64 rows a block: A comes by cp.async, B by TMA, the result
// leaves by TMA. Everything in shared memory is swizzled, so that nothing conflicts.
#pragma once

#include "common/device/layout.h"
#include "common/device/vec.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/matrix.h"
#include "common/sm90/tma.h"
#include "common/sm90/wgmma.h"

namespace opswap::sm90 {

struct Tile64 {
  static constexpr int kRows = 64, kRowBytes = 128, kThreads = 128;
  alignas(1024) unsigned char a[kRows * kRowBytes];
  alignas(1024) unsigned char b[kRows * kRowBytes];
  alignas(1024) unsigned char out[kRows * kRowBytes];
  float scale[kRows];
  Mbarrier full;
};

OPSWAP_DEVICE int swizzled_chunk(int row, int chunk) {
  return Swizzle<Tile64::kRowBytes>::of(Layout<modes({Tile64::kRows, 8}, {Tile64::kRowBytes, 16})>::at(row, chunk));
}

OPSWAP_DEVICE void tile_load(Tile64 &s, const bf16 *a, int rows, const TensorMap &b) {
  if (threadIdx.x < device::kWarp && elect_one()) {
    mbarrier_arrive_expect(s.full, sizeof s.b);
    tma_load(s.b, &b, s.full, 0, 0);
  }
  for (int i = threadIdx.x; i < Tile64::kRows * 8; i += Tile64::kThreads) {
    const int row = i / 8, chunk = i % 8, from = int(blockIdx.x) * Tile64::kRows + row;
    const bool inside = from < rows;
    cp_async<16>(s.a + swizzled_chunk(row, chunk), a + (inside ? from * 64 + chunk * 8 : 0), inside ? 16 : 0);
  }
  cp_async_commit();
}

OPSWAP_DEVICE void tile_multiply(Tile64 &s, float (&d)[32]) {
  const uint64_t a = matrix_descriptor(s.a, MatrixSwizzle::b128, 1024);
  const uint64_t b = matrix_descriptor(s.b, MatrixSwizzle::b128, 1024);
  wgmma_fence();
#pragma unroll
  for (int i = 0; i < Tile64::kRowBytes; i += 32) wgmma<64, MatrixType::bf16>(d, advance(a, i), advance(b, i), i > 0);
  wgmma_commit();
  wgmma_wait();
}

OPSWAP_DEVICE uint32_t pair_of(float low, float high) {
  return from_float<bf16>(low).bits | uint32_t(from_float<bf16>(high).bits) << 16;
}

OPSWAP_DEVICE void tile_put(Tile64 &s, const float (&d)[32]) {
  const int lane = threadIdx.x % 32, first = int(threadIdx.x) / 32 * 16;
  const float upper = load_shared<1>(s.scale + first + lane / 4)[0];
  const float lower = load_shared<1>(s.scale + first + lane / 4 + 8)[0];
#pragma unroll
  for (int i = 0; i < 32; i += 8) {
    const uint32_t r[4] = {pair_of(d[i] * upper, d[i + 1] * upper), pair_of(d[i + 2] * lower, d[i + 3] * lower),
                           pair_of(d[i + 4] * upper, d[i + 5] * upper), pair_of(d[i + 6] * lower, d[i + 7] * lower)};
    stmatrix(s.out + swizzled_chunk(first + lane % 16, i / 4 + lane / 16), r);
  }
}

__global__ void __launch_bounds__(Tile64::kThreads)
    tile_example(const __grid_constant__ TensorMap out, const bf16 *a, const __grid_constant__ TensorMap b,
                 const float *scale, int rows) {
  OPSWAP_SMEM(Tile64, s);
  if (threadIdx.x == 0) {
    mbarrier_init(s.full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  tile_load(s, a, rows, b);
  const int row = int(blockIdx.x) * Tile64::kRows + int(threadIdx.x);
  if (threadIdx.x < Tile64::kRows)
    store_shared(s.scale + threadIdx.x, row < rows ? load<1>(scale + row) : Vec<float, 1>{});
  cp_async_wait();
  fence_async_proxy();
  barrier_sync(1, Tile64::kThreads);
  mbarrier_wait(s.full, 0);
  float d[32];
  tile_multiply(s, d);
  tile_put(s, d);
  fence_async_proxy();
  barrier_sync(1, Tile64::kThreads);
  if (threadIdx.x >= device::kWarp || !elect_one()) return;
  tma_store(&out, s.out, 0, int(blockIdx.x) * Tile64::kRows);
  tma_commit();
  tma_wait_read();
}

}  // namespace opswap::sm90
