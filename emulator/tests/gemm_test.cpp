// The warp-specialised GEMM against sums in double, on seeds that make copies and products early and late.
#include "kernels/gemm.h"

#include <algorithm>
#include <vector>

#include "check.h"
#include "emulator/convert.h"

namespace opswap::emu::test {
namespace {

using namespace opswap::sm90;

struct Operands {
  std::vector<unsigned char> bytes;
  std::vector<float> values;
  Operands(size_t count, MatrixType type, int salt) : bytes(count * 2), values(count) {
    for (size_t i = 0; i < count; ++i) {
      const float x = float(int((i * 131 + size_t(salt) * 7919) % 257) - 128) / 64;
      if (type == MatrixType::bf16) {
        const uint16_t bits = float_to_bf16(x);
        std::memcpy(&bytes[2 * i], &bits, 2);
        values[i] = bf16_to_float(bits);
      } else {
        bytes[i] = float_to_e4m3(x);
        values[i] = e4m3_to_float(bytes[i]);
      }
    }
  }
};

TensorMap map_of(const Operands &o, MatrixType type, int rows, int k) {
  const uint32_t size = type == MatrixType::bf16 ? 2 : 1;
  TensorMapSpec spec{
      size == 2 ? MapType::bf16 : MapType::u8, 2, o.bytes.data(), {uint64_t(k), uint64_t(rows)}, {uint64_t(k) * size}};
  spec.box[0] = 128 / size, spec.box[1] = 128, spec.swizzle = MapSwizzle::b128;
  TensorMap map;
  EXPECT(encode(map, spec) == nullptr);
  return map;
}

template <MatrixType Type>
void check_gemm(int m, int n, int k, uint64_t seeds) {
  const Operands a(size_t(m) * k, Type, 1), b(size_t(n) * k, Type, 2);
  const int step = Type == MatrixType::bf16 ? 64 : 128;
  const TensorMap map_a = map_of(a, Type, m, k), map_b = map_of(b, Type, n, k);
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    options().seed = seed;
    std::vector<float> c(size_t(m) * n, NAN);
    const Launch how{"gemm", dim3((n + 127) / 128, (m + 127) / 128), GemmTile::kThreads, sizeof(GemmTile)};
    EXPECT_CLEAN(launch(how, gemm_example<Type>, map_a, map_b, c.data(), m, n, (k + step - 1) / step));
    double worst = 0;
    for (int r = 0; r < m; ++r)
      for (int col = 0; col < n; ++col) {
        double sum = 0;
        for (int i = 0; i < k; ++i) sum += double(a.values[size_t(r) * k + i]) * b.values[size_t(col) * k + i];
        worst = worse(worst, std::abs(sum - c[size_t(r) * n + col]));
      }
    EXPECT(worst < 1e-3);
  }
}

}  // namespace

CASE(gemm_bf16) {
  check_gemm<MatrixType::bf16>(128, 128, 256, 4);
  check_gemm<MatrixType::bf16>(136, 72, 200, 2);
}
CASE(gemm_fp8) {
  check_gemm<MatrixType::e4m3>(128, 128, 512, 4);
  check_gemm<MatrixType::e4m3>(40, 136, 144, 2);
}

}  // namespace opswap::emu::test
