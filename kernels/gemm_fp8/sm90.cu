// gemm_fp8 on sm_90a: codes times codes, summed in float32 over 128 of K at a time; both scales are applied to whole
// sums on their way out. The body that products share is common/device/product_kernel.h.
#include "gemm_fp8.gen.h"

#include "common/device/access.h"
#include "common/device/product_kernel.h"
#include "common/device/product_ways.h"

namespace opswap::OPSWAP_PASS {

constexpr int kStep = int(product::kStepBytes), kWidest = 128;

// Scales of one dimension: one for each index, or one for all.
struct ScaleOf {
  const float *data;
  int step;  // 1, or 0 where one is for all
  OPSWAP_DEVICE float at(int index, int end) const { return index < end ? load<1>(data + index * step)[0] : 0.0f; }
};

struct ScaledRows {
  using T = Scalar;
  static constexpr int kOf = 1;
  ProductOut<Scalar> to;
  ScaleOf token, feature;
  const Scalar *bias;  // [N] or nullptr
  int m;
  OPSWAP_DEVICE float begin(int, int) const { return 0.0f; }
  OPSWAP_DEVICE float finish(float sum, int row, int column) const {
    const float plus = bias && column < to.n ? to_float(load<1>(bias + column)[0]) : 0.0f;
    return fmaf(sum, token.at(row, m) * feature.at(column, to.n), plus);
  }
};

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    gemm_fp8_kernel(ScaledRows out,                            // [M, N]
                    const __grid_constant__ TensorMap first,   // [M, K] input, or with Swap [N, K] weight
                    const __grid_constant__ TensorMap second,  // [N, K] weight, or with Swap [M, K] input
                    ProductPlan plan) {
  using Memory = ProductMemory<Rows, Columns, Stages / 2, Swap, 2>;
  OPSWAP_SMEM(Memory, s);
  run_product(s, Promote<MatrixType::e4m3>{}, TmaRows<kStep>{first, second}, DenseTasks<Memory>{plan, out.m}, out);
}

// sass gemm_fp8_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040
// sass gemm_fp8_kernel<128, 128, *: issue<=36
// sass gemm_fp8_kernel<128, *, true>: issue<=45

OPSWAP_SM90_CAN(gemm_fp8) {
  if (a.input_dtype != DType::float8_e4m3fn) return "input is of 16 bits, and its kernels multiply codes with codes";
  if (!a.input_scale) return "input is codes without input_scale";
  return product_refusal(a.input, a.weight, a.M, a.N, a.K);
}

ProductCall product_of(const gemm_fp8_args &a) { return {a.scalar_dtype, a.M, a.N, a.K, a.batch_invariant}; }
using Ways = ProductWays<gemm_fp8_args, product_of, ProductTraits{1, kWidest}>;

OPSWAP_SM90_PLANS(gemm_fp8) { return Ways::plans(); }

OPSWAP_SM90(gemm_fp8) {
  if (!a.M || !a.N) return OPSWAP_OK;
  ProductPlan plan;
  if (const opswap_status bad = Ways::take(a, exec, plan)) return bad;
  const ScaledRows out{product_out<Scalar>(a.out),
                       {a.input_scale.as<const float>(), a.S == a.M},
                       {a.weight_scale.as<const float>(), a.V == a.N},
                       a.bias ? a.bias.as<const Scalar>() : nullptr,
                       int(a.M)};
  return with_product_tile<kWidest>(plan, [&]<ProductTile Tile>() {
    TensorMap first{}, second{};
    if (const opswap_status bad = encode_operands(first, second, Tile, plan.pair, a.input, a.weight, MapType::u8))
      return bad;
    return launch_product<ProductMemory<Tile.rows, Tile.columns, Tile.stages / 2, Tile.swap, 2>>(
        exec, "gemm_fp8_kernel", gemm_fp8_kernel<Tile.rows, Tile.columns, Tile.stages, Tile.swap>, plan, out, first,
        second, plan);
  });
}

}  // namespace opswap::OPSWAP_PASS
