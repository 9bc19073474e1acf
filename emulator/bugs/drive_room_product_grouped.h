// Runs a product as grouped_gemm_bf16 makes it, under every other seed of rows that lie anywhere, with parts as shipped
// or with a seeded bug, on the emulator: planner, tiles of eight tokens of which the last are cut along K, sums of
// parts.
#include "bugs/drive_product.h"
//
#include "common/device/group_kernel.h"
#include "grouped_gemm_bf16.gen.h"

#include <memory>

namespace opswap::OPSWAP_PASS {

constexpr int kStep = int(product::kStepBytes / sizeof(Scalar)), kWidest = 8;  // the one tile that the groups ask for

__global__ void grouped_product_kernel(BiasedRows<Scalar> out, const GroupOperands operands, const GroupRecord record,
                                       float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    OPSWAP_SMEM(GroupMemory<Tile>, s);
    run_product(s, Accumulate<MatrixType::bf16>{}, operands.rows<Tile, kStep>(),
                GroupTasks<GroupMemory<Tile>>{record, plan, parts}, out);
  });
}

__global__ void grouped_product_scattered_kernel(BiasedRows<Scalar> out, const GroupOperands operands,
                                                 const GatherInput input, const GroupRecord record, float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    OPSWAP_SMEM(GroupMemory<Tile>, s);
    const GatherRows<kStep> loads{operands.weights<Tile>(), input};
    run_product(s, Accumulate<MatrixType::bf16>{}, loads, GroupTasks<GroupMemory<Tile>>{record, plan, parts}, out);
  });
}

__global__ void grouped_product_parts_kernel(BiasedRows<Scalar> out, const GroupRecord record, const float *parts) {
  with_group_tile<kWidest>(record, [&]<int Tile>(const GroupPlan &plan) {
    OPSWAP_SMEM(GroupMemory<Tile>, s);
    add_parts(s, record, plan, parts, out);
  });
}

emu::bugs::Outcome drive(uint64_t seed) {
  using namespace emu::bugs;
  constexpr int64_t kGroups = 3, kRows = 13, kTokens = 13, kN = 120, kK = 2560;
  constexpr int32_t kFirst[] = {0, 5, 5, kRows};
  emu::options().seed = seed;
  const bool scattered = seed % 2 == 0;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  const ProductRows<bf16> input(DType::bfloat16, kTokens, kK, 1), weight(DType::bfloat16, kGroups * kN, kK, 2);
  const ProductResult result(kRows, kN);
  std::vector<int32_t> first(kFirst, kFirst + kGroups + 1), row_of(kRows);
  for (size_t i = 0; i < row_of.size(); ++i) row_of[i] = int32_t(scattered ? i * 7 % 9 : i);
  in_front(input.data), in_front(first), in_front(row_of);
  const emu::DeviceTensor weights(weight.data.data(), DType::bfloat16, {kGroups, kN, kK});
  const emu::DeviceTensor offsets(first.data(), DType::int32, {kGroups + 1}),
      rows(row_of.data(), DType::int32, {kRows});
  grouped_gemm_bf16_args a;
  a.out = result.on_device.tensor, a.input = input.on_device.tensor, a.weight = weights.tensor;
  a.expert_first_row = offsets.tensor;
  if (scattered) a.row_indices = rows.tensor;
  a.R = kRows, a.N = kN, a.T = kTokens, a.K = kK, a.G = kGroups, a.F = kGroups + 1;
  const size_t bytes = group_workspace(a);
  const std::unique_ptr<char[]> workspace(new char[bytes]);
  opswap_exec exec{.struct_size = sizeof(opswap_exec), .sm_budget = 4};
  exec.workspace = workspace.get(), exec.workspace_size = bytes;
  const BiasedRows<Scalar> out{product_out<Scalar>(a.out), nullptr};
  launch_groups(exec, a, MapType::bf16, group_smem<GroupMemory, kWidest>(), out, grouped_product_kernel,
                grouped_product_scattered_kernel, grouped_product_parts_kernel);
  o.report = emu::room_report();
  if (!o.report) return o;
  o.wrong = result.wrong([&](int64_t row, int64_t of) {
    int64_t g = 0;
    while (first[size_t(g + 1)] <= row) ++g;
    return product_of_rows(input, row_of[size_t(row)], weight, g * kN + of);
  });
  const GroupPlan &plan = *reinterpret_cast<const GroupPlan *>(workspace.get() + part_bytes(a));
  if (o.wrong.empty() && plan.whole == plan.tiles) o.wrong = "no tile was cut along K";
  return o;
}

const emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace opswap::OPSWAP_PASS
