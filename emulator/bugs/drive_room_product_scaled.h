// Runs a product as gemm_fp8_block128 makes it, with parts as shipped or with a seeded bug, on the emulator: codes,
// whose sums of 128 of K are added up times a scale of the token's and one of the 128 features'.
#include "bugs/drive_product.h"
//
#include "common/device/product_scales.h"

namespace opswap::OPSWAP_PASS {

constexpr ProductTile kTile = kProductTiles[1];
constexpr int kBlock = 128;
using Memory = Scaled<ProductMemory<kTile.rows, kTile.columns, kTile.stages / 2, kTile.swap, 2>>;

__global__ void scaled_product_kernel(BiasedRows<Scalar> out, const TensorMap first, const TensorMap second,
                                      ProductScales scales, ProductPlan plan, int m) {
  OPSWAP_SMEM(Memory, s);
  const WithScales<TmaRows<kBlock>> loads{{first, second}, scales};
  run_product(s, Promote<MatrixType::e4m3, BlockFactors<kTile.swap, kTile.columns, 2>>{}, loads,
              DenseTasks<Memory>{plan, m}, out);
}

// More stages than the ring has, of which the last is half of one.
emu::bugs::Outcome drive(uint64_t seed) {
  using namespace emu::bugs;
  constexpr int64_t kM = 13, kN = 200, kSteps = 13, kK = kSteps * kBlock;
  emu::options().seed = seed;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  const ProductRows<e4m3> input(DType::float8_e4m3fn, kM, kK, 1), weight(DType::float8_e4m3fn, kN, kK, 2);
  const ProductResult result(kM, kN);
  std::vector<float> of_token(kM * kSteps), of_block(2 * kSteps);
  for (size_t i = 0; i < of_token.size(); ++i) of_token[i] = float(i % 7 + 1) / 4;
  for (size_t i = 0; i < of_block.size(); ++i) of_block[i] = float(i % 5 + 1) / 8;
  in_front(input.data), in_front(of_token);
  const ProductPlan plan = product::plan_of({kM, kN, kK, 128}, 1, {1, 1});
  TensorMap first{}, second{};
  encode_operands(first, second, kTile, 1, input.on_device.tensor, weight.on_device.tensor, MapType::u8);
  const ProductScales scales{of_token.data(), of_block.data(), kSteps, 1, kSteps, 0, int(kM)};
  launch_product<Memory>(one_sm(), "scaled_product_kernel", scaled_product_kernel, plan,
                         BiasedRows<Scalar>{product_out<Scalar>(result.on_device.tensor), nullptr}, first, second,
                         scales, plan, int(kM));
  o.report = emu::room_report();
  if (!o.report) return o;
  o.wrong = result.wrong([&](int64_t row, int64_t of) {
    double sum = 0;
    for (int64_t k = 0; k < kK; ++k)
      sum += input.at(row, k) * weight.at(of, k) * double(of_token[size_t(row * kSteps + k / kBlock)]) *
             double(of_block[size_t(of / kBlock * kSteps + k / kBlock)]);
    return sum;
  });
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace opswap::OPSWAP_PASS
