// Every wgmma: each width, type, pair of majors, with A in shared memory and in registers, against exact sums.
#include "kernels/wrap_products.h"

#include <vector>

#include "check.h"
#include "emulator/convert.h"

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

#ifdef OPSWAP_EMU_TSAN
constexpr int kStep = 120;  // instrumented products are slow, and of one code
#else
constexpr int kStep = 8;
#endif

struct Matrix {
  std::vector<unsigned char> bytes;
  std::vector<int> values;
  int columns;
  Matrix(int rows, MatrixType type, unsigned salt) : bytes(size_t(rows) * 32) {
    const bool wide = type == MatrixType::bf16 || type == MatrixType::fp16;
    columns = wide ? 16 : 32;
    unsigned random = salt;
    for (int i = 0; i < rows * columns; ++i) {
      random = random * 1664525 + 1013904223;
      const int value = int(random >> 20) % 9 - 4;  // exact in every type
      values.push_back(value);
      const uint16_t bits = type == MatrixType::bf16   ? float_to_bf16(float(value))
                            : type == MatrixType::fp16 ? float_to_fp16(float(value))
                            : type == MatrixType::e4m3 ? float_to_e4m3(float(value))
                                                       : float_to_e5m2(float(value));
      std::memcpy(&bytes[size_t(i) * (wide ? 2 : 1)], &bits, wide ? 2 : 1);
    }
  }
};

struct Types {
  MatrixType a, b;
};

Types types_of(int kind) {
  constexpr MatrixType kFp8[] = {MatrixType::e4m3, MatrixType::e5m2};
  if (kind < kKindsOf16) return {MatrixType::bf16, MatrixType::bf16};
  if (kind < 2 * kKindsOf16) return {MatrixType::fp16, MatrixType::fp16};
  const int fp8 = (kind - 2 * kKindsOf16) / 2;
  return {kFp8[fp8 / 2], kFp8[fp8 % 2]};
}

template <int N>
void check_width() {
  for (int kind = 0; kind < kKinds; ++kind) {
    const Types types = types_of(kind);
    const Matrix a(64, types.a, unsigned(kind + 1)), b(N, types.b, unsigned(kind + 100 * N));
    std::vector<float> out(size_t(64 * N), NAN);
    EXPECT_CLEAN(launch({"kernel", 1, 128, sizeof(ProductTile)}, wrap_product<N>, out.data(), a.bytes.data(),
                        b.bytes.data(), kind));
    int wrong = 0;
    for (int row = 0; row < 64; ++row)
      for (int column = 0; column < N; ++column) {
        int sum = 0;
        for (int k = 0; k < a.columns; ++k)
          sum += a.values[size_t(row * a.columns + k)] * b.values[size_t(column * a.columns + k)];
        wrong += out[size_t(row * N + column)] != float(2 * sum);
      }
    EXPECT(wrong == 0);
  }
}

template <int From, int To>
void check_widths() {
  check_width<From>();
  if constexpr (From + kStep <= To) check_widths<From + kStep, To>();
}

}  // namespace

CASE(wrap_operand_fence_around_a_wait) {
  const Matrix a(64, MatrixType::bf16, 3), b(64, MatrixType::bf16, 4);
  std::vector<float> out(2 * 128, NAN);
  EXPECT_CLEAN(launch({"kernel", 1, 128, sizeof(ProductTile)}, wrap_operand_fence<true>, out.data(), a.bytes.data(),
                      b.bytes.data(), 0.5f, 2));
  for (int thread = 0; thread < 256; ++thread) {
    float most = -INFINITY;
    for (int i = 0; i < 32; ++i) {
      const int row = thread % 128 / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8,
                column = thread % 4 * 2 + i / 4 * 8 + i % 2;
      int sum = 0;
      for (int k = 0; k < 16; ++k) sum += a.values[size_t(row * 16 + k)] * b.values[size_t(column * 16 + k)];
      most = std::max(most, 0.5f * float(sum));
    }
    EXPECT(out[size_t(thread)] == most);
  }
}

CASE(wrap_products_up_to_128) { check_widths<8, 128>(); }
CASE(wrap_products_up_to_256) { check_widths<136, 256>(); }

}  // namespace opswap::emu::test
