// linear on sm_90a in BF16 and FP16: sums over all of K in the tensor cores, by the body that products share
// (common/device/product_kernel.h).
#include "linear.gen.h"

#include "common/device/access.h"
#include "common/device/product_kernel.h"
#include "common/device/product_ways.h"

namespace opswap::OPSWAP_PASS {

constexpr bool kBf16 = std::is_same_v<Scalar, bf16>;
constexpr MatrixType kType = kBf16 ? MatrixType::bf16 : MatrixType::fp16;
constexpr MapType kMap = kBf16 ? MapType::bf16 : MapType::f16;
constexpr int kStep = int(product::kStepBytes / sizeof(Scalar));  // of K

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    linear_kernel(BiasedRows<Scalar> out,                    // [M, N]
                  const __grid_constant__ TensorMap first,   // [M, K] input, or with Swap [N, K] weight
                  const __grid_constant__ TensorMap second,  // [N, K] weight, or with Swap [M, K] input
                  const __grid_constant__ TensorMap rows,    // of out, where it is boxed
                  ProductPlan plan, int m) {
  using Memory = ProductMemory<Rows, Columns, Stages, Swap>;
  OPSWAP_SMEM(Memory, s);
  out.to.map = &rows;
  run_product(s, Accumulate<kType>{}, TmaRows<kStep>{first, second}, DenseTasks<Memory>{plan, m}, out);
}

// sass linear_kernel: HGMMA UTMALDG STG.128 descriptor=0x40000040
// sass linear_kernel<128, 128, *: issue<=15
// sass linear_kernel<128, 256, *: issue<=8
// sass linear_kernel<128, *, true>: issue<=56

OPSWAP_SM90_CAN(linear) {
  if (a.weight_dtype != a.scalar_dtype) return "input and weight differ in dtype, and wgmma multiplies one dtype";
  return product_refusal(a.input, a.weight, a.M, a.N, a.K);
}

ProductCall product_of(const linear_args &a) { return {a.scalar_dtype, a.M, a.N, a.K, a.batch_invariant}; }
using Ways = ProductWays<linear_args, product_of, ProductTraits{int(sizeof(Scalar)), 256}>;

OPSWAP_SM90_PLANS(linear) { return Ways::plans(); }

OPSWAP_SM90(linear) {
  if (!a.M || !a.N) return OPSWAP_OK;
  ProductPlan plan;
  if (const opswap_status bad = Ways::take(a, exec, plan)) return bad;
  BiasedRows<Scalar> out{product_out<Scalar>(a.out), a.bias ? a.bias.as<const Scalar>() : nullptr};
  return with_product_tile(plan, [&]<ProductTile Tile>() {
    TensorMap first{}, second{}, rows{};
    if (const opswap_status bad = encode_operands(first, second, Tile, plan.pair, a.input, a.weight, kMap)) return bad;
    out.to.boxed = encode_out(rows, a.out, kMap);
    return launch_product<ProductMemory<Tile.rows, Tile.columns, Tile.stages, Tile.swap>>(
        exec, "linear_kernel", linear_kernel<Tile.rows, Tile.columns, Tile.stages, Tile.swap>, plan, out, first, second,
        rows, plan, int(a.M));
  });
}

}  // namespace opswap::OPSWAP_PASS
