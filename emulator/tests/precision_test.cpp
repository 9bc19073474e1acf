// FP8 products with Hopper's precision: the error of a long sum, and what sums of their own for each 128 of K make of
// it.
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "emulator/convert.h"
#include "kernels/gemm.h"
#include "runtime/precision.h"

namespace opswap::sm90 {
namespace {

// One warpgroup multiplies 64 rows; where it promotes, each step's sum is added to a float sum outside.
__global__ void gemm_in_steps(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float *c,
                              int steps, bool promotes) {
  OPSWAP_SMEM(GemmTile, s);
  if (threadIdx.x == 0) {
    mbarrier_init(s.full[0], 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  float d[GemmTile::kColumns / 2] = {}, total[GemmTile::kColumns / 2] = {};
  for (int k = 0; k < steps; ++k) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect(s.full[0], GemmTile::kBytes);
      tma_load(s.a[0], &a, s.full[0], k * 128, 0);
      tma_load(s.b[0], &b, s.full[0], k * 128, 0);
    }
    mbarrier_wait(s.full[0], k & 1);
    const uint64_t from_a = matrix_descriptor(s.a[0], MatrixSwizzle::b128, 1024);
    const uint64_t from_b = matrix_descriptor(s.b[0], MatrixSwizzle::b128, 1024);
    wgmma_fence();
    for (int i = 0; i < 128; i += 32)
      wgmma<GemmTile::kColumns, MatrixType::e4m3>(d, advance(from_a, i), advance(from_b, i),
                                                  i > 0 || (k > 0 && !promotes));
    wgmma_commit();
    wgmma_wait();
    for (int i = 0; i < GemmTile::kColumns / 2; ++i) total[i] += d[i];
    __syncthreads();
  }
  for (int i = 0; i < GemmTile::kColumns / 2; ++i)
    c[threadIdx.x * (GemmTile::kColumns / 2) + i] = promotes ? total[i] : d[i];
}

}  // namespace
}  // namespace opswap::sm90

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

// Largest error relative to the largest sum, of numbers of one sign.
double error_of(int k, bool hopper, bool promotes) {
  constexpr int kSize = 128;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
  std::vector<uint8_t> a(size_t(kSize) * k), b(a.size());
  for (uint8_t &x : a) x = float_to_e4m3(uniform(random));
  for (uint8_t &x : b) x = float_to_e4m3(uniform(random));
  TensorMap maps[2];
  const void *data[] = {a.data(), b.data()};
  for (int i = 0; i < 2; ++i) {
    TensorMapSpec spec{MapType::u8, 2, data[i], {uint64_t(k), kSize}, {uint64_t(k)}};
    spec.box[0] = 128, spec.box[1] = kSize, spec.swizzle = MapSwizzle::b128;
    EXPECT(!encode(maps[i], spec));
  }
  std::vector<float> c(size_t{64} * kSize, NAN);
  options() = {.seed = 0, .hopper_fp8 = hopper};
  EXPECT_CLEAN(
      launch({"gemm", {1}, {128}, sizeof(GemmTile)}, gemm_in_steps, maps[0], maps[1], c.data(), k / 128, promotes));
  double worst = 0, largest = 0;
  for (int thread = 0; thread < 128; ++thread)
    for (int i = 0; i < kSize / 2; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      double sum = 0;
      for (int n = 0; n < k; ++n)
        sum += double(e4m3_to_float(a[size_t(row * k + n)])) * e4m3_to_float(b[size_t(column * k + n)]);
      worst = worse(worst, std::fabs(sum - c[size_t(thread * (kSize / 2) + i)]));
      largest = std::fmax(largest, sum);
    }
  return worst / largest;
}

}  // namespace

CASE(a_nan_is_the_worst_error_wherever_it_comes) {
  for (int at = 0; at < 3; ++at) {
    const double errors[] = {at == 0 ? NAN : 1, at == 1 ? NAN : 2, at == 2 ? NAN : 0.5};
    double worst = 0;
    for (const double error : errors) worst = worse(worst, error);
    EXPECT(std::isnan(worst));
  }
  EXPECT(worse(worse(worse(0, 1), 3), 2) == 3);
}

CASE(products_of_hopper_keep_14_bits) {
  const float small = 0x1p-14f, third = 0x1.555554p-2f;
  EXPECT(add_as_hopper(1, &small, 1) == 1);
  const float just = 0x1p-13f, minus = -small;
  EXPECT(add_as_hopper(1, &just, 1) == 1 + 0x1p-13f);
  EXPECT(add_as_hopper(1, &minus, 1) == 1);  // towards zero
  EXPECT(add_as_hopper(0, &third, 1) == 0x1.555p-2f);
  const float parts[] = {NAN, 1};
  EXPECT(std::isnan(add_as_hopper(0, parts, 2)) && add_as_hopper(0, parts, 0) == 0);
}

CASE(error_of_hopper_fp8_grows_with_k) {
  const double exact = error_of(2048, false, false), short_sum = error_of(128, true, false);
  const double long_sum = error_of(2048, true, false), promoted = error_of(2048, true, true);
  EXPECT(exact < 1e-6);
  EXPECT(short_sum > 1e-5 && long_sum > 4 * short_sum);
  EXPECT(promoted < 1.5 * short_sum);
}

}  // namespace opswap::emu::test
