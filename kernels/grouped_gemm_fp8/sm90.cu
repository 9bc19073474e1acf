// grouped_gemm_fp8 on sm_90a: rows of codes times the codes of their group, summed in float32 over 128 of K at a time,
// times a scale of the row and one of the column, by the body that grouped products share
// (common/device/group_kernel.h).
#include "grouped_gemm_fp8.gen.h"

#include "common/device/group_kernel.h"

namespace opswap::OPSWAP_PASS {

constexpr int kStep = 128, kWidest = 128;
using Promoted = Promote<MatrixType::e4m3>;

// Sums times the scales of their row of input and of their column of the group's weights.
struct ScaledRows {
  using T = Scalar;
  static constexpr int kOf = 1;
  ProductOut<Scalar> to;
  const float *input, *weight;  // [tokens] or [1], [G, N] or [G, 1]; at(task) has the group's
  int64_t of_group;             // scales of weights from group to group
  bool each_token, each_column;
  int rows, tokens;
  const int32_t *row_indices;  // [rows] or nullptr

  OPSWAP_DEVICE ScaledRows at(const ProductTask &task) const {
    ScaledRows own = *this;
    own.weight += task.group * of_group;
    return own;
  }
  OPSWAP_DEVICE float begin(int, int) const { return 0; }
  OPSWAP_DEVICE float finish(float sum, int token, int column) const {
    if (token >= rows || column >= to.n) return 0;
    const int row = !each_token ? 0 : row_indices ? load<1>(row_indices + token)[0] : token;
    if (uint32_t(row) >= uint32_t(tokens)) return 0;  // an index out of range is a row of zeros
    return sum * load<1>(input + row)[0] * load<1>(weight + (each_column ? column : 0))[0];
  }
};

__global__ void __launch_bounds__(kProductThreads, 1)
    grouped_gemm_fp8_kernel(const __grid_constant__ ScaledRows out,          // [R, N]
                            const __grid_constant__ GroupOperands operands,  // [R, K] input, [G, N, K] weight
                            const __grid_constant__ GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = GroupMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    run_product(s, Promoted{}, operands.rows<Tile, kStep>(), GroupTasks<Memory>{record, plan, parts}, out);
  });
}

__global__ void __launch_bounds__(kProductThreads, 1)
    grouped_gemm_fp8_scattered_kernel(const __grid_constant__ ScaledRows out,          // [R, N]
                                      const __grid_constant__ GroupOperands operands,  // [G, N, K] weight
                                      const __grid_constant__ GatherInput input,       // [T, K]
                                      const __grid_constant__ GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = GroupMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    const GatherRows<kStep> loads{operands.weights<Tile>(), input};
    run_product(s, Promoted{}, loads, GroupTasks<Memory>{record, plan, parts}, out);
  });
}

__global__ void __launch_bounds__(kProductMultiplying, 1)
    grouped_gemm_fp8_parts_kernel(const __grid_constant__ ScaledRows out,  // [R, N]
                                  const __grid_constant__ GroupRecord record, const float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = GroupMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    add_parts(s, record, plan, parts, out);
  });
}

// sass grouped_gemm_fp8_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040 issue<=54
// sass grouped_gemm_fp8_scattered_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040 issue<=54

OPSWAP_SM90_CAN(grouped_gemm_fp8) { return group_refusal(a); }

OPSWAP_SM90_WORKSPACE(grouped_gemm_fp8) { return group_workspace(a); }

OPSWAP_SM90(grouped_gemm_fp8) {
  const ScaledRows out{product_out<Scalar>(a.out),
                       a.input_scale.as<const float>(),
                       a.weight_scale.as<const float>(),
                       a.weight_scale.stride[0],
                       a.A > 1,
                       a.C > 1,
                       int(a.R),
                       int(a.T),
                       a.row_indices.as<const int32_t>()};
  return launch_groups(exec, a, MapType::u8, group_smem<GroupMemory, kWidest>(), out, grouped_gemm_fp8_kernel,
                       grouped_gemm_fp8_scattered_kernel, grouped_gemm_fp8_parts_kernel);
}

}  // namespace opswap::OPSWAP_PASS
