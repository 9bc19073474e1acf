// gemm_fp8_block128 on sm_90a: codes times codes, summed in float32 over 128 of K at a time and added to sums times
// both scales, by the body that products share (common/device/product_kernel.h).
#include "gemm_fp8_block128.gen.h"

#include "common/device/access.h"
#include "common/device/product_kernel.h"
#include "common/device/product_scales.h"
#include "common/device/product_ways.h"

namespace opswap::OPSWAP_PASS {

constexpr int kBlock = 128, kWidest = 128, kLowest = 64;
constexpr MapType kOutMap = std::is_same_v<Scalar, bf16> ? MapType::bf16 : MapType::f16;

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    gemm_fp8_block128_kernel(BiasedRows<Scalar> out,                    // [M, N]
                             const __grid_constant__ TensorMap first,   // [M, K] input, or with Swap [N, K] weight
                             const __grid_constant__ TensorMap second,  // [N, K] weight, or with Swap [M, K] input
                             const __grid_constant__ TensorMap rows,    // of out, where it is boxed
                             ProductScales scales, ProductPlan plan, int m) {
  using Memory = Scaled<ProductMemory<Rows, Columns, Stages / 2, Swap, 2>>;
  OPSWAP_SMEM(Memory, s);
  out.to.map = &rows;
  const WithScales<TmaRows<kBlock>> loads{{first, second}, scales};
  run_product(s, Promote<MatrixType::e4m3, BlockFactors<Swap, Columns, 2>>{}, loads, DenseTasks<Memory>{plan, m}, out);
}

// sass gemm_fp8_block128_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040
// sass gemm_fp8_block128_kernel<128, 128, *: issue<=37
// sass gemm_fp8_block128_kernel<64, 128, *: issue<=37
// sass gemm_fp8_block128_kernel<128, *, true>: issue<=64

OPSWAP_SM90_CAN(gemm_fp8_block128) {
  if (a.input_dtype != DType::float8_e4m3fn) return "input is of 16 bits, and its kernels multiply codes with codes";
  if (!a.input_scale) return "input is codes without input_scale";
  return product_refusal(a.input, a.weight, a.M, a.N, a.K);
}

ProductScales scales_of(const gemm_fp8_block128_args &a) {
  const int64_t row = a.input_scale.stride[0], group = a.input_scale.stride[1];
  return {.input = a.input_scale.as<const float>(),
          .weight = a.weight_scale.as<const float>(),
          .input_row = a.mn_major ? group : row,
          .input_step = a.mn_major ? row : group,
          .weight_row = a.weight_scale.stride[0],
          .weight_group = 0,
          .tokens = int(a.M)};
}

ProductCall product_of(const gemm_fp8_block128_args &a) { return {a.scalar_dtype, a.M, a.N, a.K, a.batch_invariant}; }
using Ways = ProductWays<gemm_fp8_block128_args, product_of, ProductTraits{1, kWidest, false, kLowest}>;

OPSWAP_SM90_PLANS(gemm_fp8_block128) { return Ways::plans(); }

OPSWAP_SM90(gemm_fp8_block128) {
  if (!a.M || !a.N) return OPSWAP_OK;
  ProductPlan plan;
  if (const opswap_status bad = Ways::take(a, exec, plan)) return bad;
  BiasedRows<Scalar> out{product_out<Scalar>(a.out), a.bias ? a.bias.as<const Scalar>() : nullptr};
  return with_product_tile<kWidest, kLowest>(plan, [&]<ProductTile Tile>() {
    TensorMap first{}, second{}, rows{};
    if (const opswap_status bad = encode_operands(first, second, Tile, plan.pair, a.input, a.weight, MapType::u8))
      return bad;
    out.to.boxed = encode_out(rows, a.out, kOutMap);
    return launch_product<Scaled<ProductMemory<Tile.rows, Tile.columns, Tile.stages / 2, Tile.swap, 2>>>(
        exec, "gemm_fp8_block128_kernel", gemm_fp8_block128_kernel<Tile.rows, Tile.columns, Tile.stages, Tile.swap>,
        plan, out, first, second, rows, scales_of(a), plan, int(a.M));
  });
}

}  // namespace opswap::OPSWAP_PASS
