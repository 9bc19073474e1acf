// What products ask of fences, registers and tiles: each misuse named, and what is allowed beside it silent.
#include <vector>

#include "check.h"
#include "emulator/convert.h"
#include "kernels/gemm.h"

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

// Both tiles are of ones, so that a product of a width in bytes is that width in elements.
struct Ones {
  alignas(1024) unsigned char a[64 * 128], b[64 * 128 + 1024];
};
constexpr uint32_t kOnes = 0x3f803f80;  // two of bf16

// body(s, thread's accumulators) after the tiles are filled; all that it leaves under way is waited for.
template <class Body>
Report with_ones(float (&out)[128][32], Body body) {
  return run({"kernel", 1, 128, sizeof(Ones)}, [&] {
    OPSWAP_SMEM(Ones, s);
    for (size_t i = threadIdx.x * 4; i < sizeof s; i += 512)
      std::memcpy(reinterpret_cast<unsigned char *>(&s) + i, &kOnes, 4);
    sm90::fence_async_proxy();
    __syncthreads();
    body(s, out[threadIdx.x]);
  });
}

void multiply(const Ones &s, float (&d)[32], bool add) {
  const uint64_t b = matrix_descriptor(s.b, MatrixSwizzle::b128, 1024);
  sm90::wgmma<64, MatrixType::bf16>(d, matrix_descriptor(s.a, MatrixSwizzle::b128, 1024), b, add);
}
void multiply(const Ones &s, float (&d)[32], const uint32_t (&a)[4]) {
  sm90::wgmma<64, MatrixType::bf16>(d, a, matrix_descriptor(s.b, MatrixSwizzle::b128, 1024), false);
}

#ifdef OPSWAP_EMU_TSAN
constexpr uint64_t kSeeds = 1;  // each report costs that build hundreds of new fibers, and none is of a race
#else
constexpr uint64_t kSeeds = 8;
#endif

void each_seed(void (*body)()) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) options().seed = seed, body();
}

// A product whose B starts so many bytes behind the tile.
Report offset_by(uint32_t bytes, MatrixSwizzle swizzle) {
  static float out[128][32];
  return with_ones(out, [=](Ones &s, float (&d)[32]) {
    const uint64_t a = matrix_descriptor(s.a, MatrixSwizzle::b128, 1024);
    sm90::wgmma_fence();
    sm90::wgmma<64, MatrixType::bf16>(d, a, matrix_descriptor(s.b + bytes, swizzle, 512), false);
    sm90::wgmma_commit();
    sm90::wgmma_wait<0>();
  });
}

}  // namespace

CASE(products_of_one_fence_in_one_group) {
  each_seed([] {
    float out[128][32];
    EXPECT_CLEAN(with_ones(out, [](Ones &s, float (&d)[32]) {
      float other[32];
      sm90::wgmma_fence();
      multiply(s, d, false), multiply(s, other, false);
      sm90::wgmma_commit();
      sm90::wgmma_wait<0>();
      for (int i = 0; i < 32; ++i) d[i] += 100 * other[i];
    }));
    for (auto &thread : out)
      for (float x : thread) EXPECT(x == 1616);
  });
}

CASE(products_that_add_need_no_second_fence) {
  each_seed([] {
    float out[128][32];
    EXPECT_CLEAN(with_ones(out, [](Ones &s, float (&d)[32]) {
      sm90::wgmma_fence();
      multiply(s, d, false);
      sm90::wgmma_commit();
      multiply(s, d, true);
      sm90::wgmma_commit();
      sm90::wgmma_wait<1>();
      sm90::wgmma_wait<0>();
    }));
    for (auto &thread : out)
      for (float x : thread) EXPECT(x == 32);
  });
}

CASE(products_beside_others_without_a_fence) {
  each_seed([] {
    float out[128][32];
    EXPECT_FOUND("no wgmma_fence() for the accumulators", with_ones(out, [](Ones &s, float (&d)[32]) {
                   float other[32];
                   sm90::wgmma_fence();
                   multiply(s, d, false);
                   sm90::wgmma_commit();
                   multiply(s, other, false);
                 }));
    EXPECT_FOUND("no wgmma_fence() for the A registers", with_ones(out, [](Ones &s, float (&d)[32]) {
                   const uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes};
                   sm90::wgmma_fence();
                   multiply(s, d, a);
                   sm90::wgmma_commit();
                   multiply(s, d, a);
                 }));
  });
}

CASE(products_of_registers_that_change) {
  each_seed([] {
    for (const bool early : {false, true}) {
      float out[128][32];
      const Report report = with_ones(out, [=](Ones &s, float (&d)[32]) {
        uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes};
        for (int i = 0; i < 2; ++i) {
          sm90::wgmma_fence();
          multiply(s, d, a);
          sm90::wgmma_commit();
          if (early) a[3] = 0;
          sm90::wgmma_wait<0>();
          a[0] = 0;  // behind the wait
        }
      });
      if (early)
        EXPECT_FOUND("were changed before wgmma_wait()", report);
      else
        EXPECT_CLEAN(report);
      for (int thread = 0; thread < 128 && !early; ++thread)  // half of the rows have lost half of their ones
        for (int i = 0; i < 32; ++i) EXPECT(out[thread][i] == (i / 2 % 2 ? 16 : 8));
    }
  });
}

CASE(products_of_tiles_off_their_swizzle) {
  each_seed([] {
    constexpr struct {
      MatrixSwizzle swizzle;
      uint32_t width;
      const char *words;
    } kSwizzles[] = {{MatrixSwizzle::b128, 128, "128 behind a multiple of 1024"},
                     {MatrixSwizzle::b64, 64, "64 behind a multiple of 512"},
                     {MatrixSwizzle::b32, 32, "32 behind a multiple of 256"}};
    for (const auto &[swizzle, width, words] : kSwizzles) {
      EXPECT_CLEAN(offset_by(0, swizzle));
      EXPECT_CLEAN(offset_by(width - 16, swizzle));  // along a row, as from one product to the next
      EXPECT_CLEAN(offset_by(8 * width, swizzle));
      EXPECT_FOUND(words, offset_by(width, swizzle));
      EXPECT_FOUND("where its swizzle of", offset_by(7 * width + 16, swizzle));
    }
    EXPECT_CLEAN(offset_by(16, MatrixSwizzle::none));
  });
}

}  // namespace opswap::emu::test
