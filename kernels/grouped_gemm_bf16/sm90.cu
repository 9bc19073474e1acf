// grouped_gemm_bf16 on sm_90a in BF16 and FP16: rows of groups times the weights of their group, by the body that
// grouped products share (common/device/group_kernel.h).
#include "grouped_gemm_bf16.gen.h"

#include "common/device/group_kernel.h"

namespace opswap::OPSWAP_PASS {

constexpr bool kBf16 = std::is_same_v<Scalar, bf16>;
constexpr MatrixType kType = kBf16 ? MatrixType::bf16 : MatrixType::fp16;
constexpr int kStep = int(product::kStepBytes / sizeof(Scalar)), kWidest = 256;

__global__ void __launch_bounds__(kProductThreads, 1)
    grouped_gemm_bf16_kernel(BiasedRows<Scalar> out,                          // [R, N]
                             const __grid_constant__ GroupOperands operands,  // [R, K] input, [G, N, K] weight
                             const __grid_constant__ GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = GroupMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    run_product(s, Accumulate<kType>{}, operands.rows<Tile, kStep>(), GroupTasks<Memory>{record, plan, parts}, out);
  });
}

__global__ void __launch_bounds__(kProductThreads, 1)
    grouped_gemm_bf16_scattered_kernel(BiasedRows<Scalar> out,                          // [R, N]
                                       const __grid_constant__ GroupOperands operands,  // [G, N, K] weight
                                       const __grid_constant__ GatherInput input,       // [T, K]
                                       const __grid_constant__ GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = GroupMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    const GatherRows<kStep> loads{operands.weights<Tile>(), input};
    run_product(s, Accumulate<kType>{}, loads, GroupTasks<Memory>{record, plan, parts}, out);
  });
}

__global__ void __launch_bounds__(kProductMultiplying, 1)
    grouped_gemm_bf16_parts_kernel(BiasedRows<Scalar> out,  // [R, N]
                                   const __grid_constant__ GroupRecord record, const float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    using Memory = GroupMemory<Tile>;
    OPSWAP_SMEM(Memory, s);
    add_parts(s, record, plan, parts, out);
  });
}

// sass grouped_gemm_bf16_kernel: HGMMA UTMALDG STG.128 descriptor=0x40000040 issue<=56
// sass grouped_gemm_bf16_scattered_kernel: HGMMA UTMALDG STG.128 descriptor=0x40000040 issue<=56

OPSWAP_SM90_CAN(grouped_gemm_bf16) { return group_refusal(a); }

OPSWAP_SM90_WORKSPACE(grouped_gemm_bf16) { return group_workspace(a); }

OPSWAP_SM90(grouped_gemm_bf16) {
  const BiasedRows<Scalar> out{product_out<Scalar>(a.out), nullptr};
  return launch_groups(exec, a, kBf16 ? MapType::bf16 : MapType::f16, group_smem<GroupMemory, kWidest>(), out,
                       grouped_gemm_bf16_kernel, grouped_gemm_bf16_scattered_kernel, grouped_gemm_bf16_parts_kernel);
}

}  // namespace opswap::OPSWAP_PASS
