// grouped_gemm_fp8_block128 on sm_90a: rows of codes times the codes of their group, summed in float32 over 128 of K at
// a time and added to sums times both scales, by the body that grouped products share (common/device/group_kernel.h).
#include "grouped_gemm_fp8_block128.gen.h"

#include "common/device/group_kernel.h"
#include "common/device/product_scales.h"

namespace opswap::OPSWAP_PASS {

constexpr int kBlock = 128, kWidest = 128;

template <int Tile>
using ScaledMemory = Scaled<GroupMemory<Tile>>;
template <int Tile>
using Promoted = Promote<MatrixType::e4m3, BlockFactors<kProductTiles[Tile].swap, kProductTiles[Tile].columns>>;

__global__ void __launch_bounds__(kProductThreads, 1)
    grouped_gemm_fp8_block128_kernel(BiasedRows<Scalar> out,                          // [R, N]
                                     const __grid_constant__ GroupOperands operands,  // [R, K] input, [G, N, K] weight
                                     const __grid_constant__ ProductScales scales,
                                     const __grid_constant__ GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = ScaledMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    const WithScales<GroupLoads<kBlock>> loads{operands.rows<Tile, kBlock>(), scales};
    run_product(s, Promoted<Tile>{}, loads, GroupTasks<Memory>{record, plan, parts}, out);
  });
}

__global__ void __launch_bounds__(kProductThreads, 1)
    grouped_gemm_fp8_block128_scattered_kernel(BiasedRows<Scalar> out,                          // [R, N]
                                               const __grid_constant__ GroupOperands operands,  // [G, N, K] weight
                                               const __grid_constant__ GatherInput input,       // [T, K]
                                               const __grid_constant__ ProductScales scales,
                                               const __grid_constant__ GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = ScaledMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    const WithScales<GatherRows<kBlock>> loads{{operands.weights<Tile>(), input}, scales};
    run_product(s, Promoted<Tile>{}, loads, GroupTasks<Memory>{record, plan, parts}, out);
  });
}

__global__ void __launch_bounds__(kProductMultiplying, 1)
    grouped_gemm_fp8_block128_parts_kernel(BiasedRows<Scalar> out,  // [R, N]
                                           const __grid_constant__ GroupRecord record, const float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = ScaledMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    add_parts(s, record, plan, parts, out);
  });
}

// sass grouped_gemm_fp8_block128_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040 issue<=80
// sass grouped_gemm_fp8_block128_scattered_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040 issue<=80

OPSWAP_SM90_CAN(grouped_gemm_fp8_block128) {
  if (a.input_dtype != DType::float8_e4m3fn) return "input is of 16 bits, and its kernels multiply codes with codes";
  return group_refusal(a);
}

OPSWAP_SM90_WORKSPACE(grouped_gemm_fp8_block128) { return group_workspace(a); }

ProductScales scales_of(const grouped_gemm_fp8_block128_args &a) {
  const int64_t row = a.input_scale.stride[0], step = a.input_scale.stride[1];
  return {.input = a.input_scale.as<const float>(),
          .weight = a.weight_scale.as<const float>(),
          .input_row = a.mn_major ? step : row,
          .input_step = a.mn_major ? row : step,
          .weight_row = a.weight_scale.stride[1],
          .weight_group = a.weight_scale.stride[0],
          .tokens = int(a.T),
          .rows = a.row_indices.as<const int32_t>()};
}

OPSWAP_SM90(grouped_gemm_fp8_block128) {
  const BiasedRows<Scalar> out{product_out<Scalar>(a.out), nullptr};
  return launch_groups(exec, a, MapType::u8, group_smem<ScaledMemory, kWidest>(), out, grouped_gemm_fp8_block128_kernel,
                       grouped_gemm_fp8_block128_scattered_kernel, grouped_gemm_fp8_block128_parts_kernel,
                       scales_of(a));
}

}  // namespace opswap::OPSWAP_PASS
