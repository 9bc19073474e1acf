// What the kernels of grouped products share: products of rows of groups with weights of their own, by the body of
// product_kernel.h. The tile is the plan's, which is known on the device alone, so a kernel has the loops of all of
// them and takes one. A room has two kernels of its own name:
//
//   __global__ void __launch_bounds__(kProductThreads, 1)
//       my_kernel(..., const __grid_constant__ GroupOperands operands, GroupRecord record, float *parts) {
//     with_group_tile<Widest>(record, [&]<ProductTile Tile>(const GroupPlan &plan) {
//       OPSWAP_SMEM(ProductMemory<Tile.rows, ...>, s);
//       run_product(s, arithmetic, operands.rows<Tile, Step>(), GroupTasks<...>{record, plan, parts}, out);
//     });
//   }
//
// and, for tiles that are cut along K, one that adds their parts up: add_parts(). launch_groups() starts what there is.
#pragma once

#include "common/device/group_gather.h"
#include "common/device/group_planner.h"
#include "common/device/group_tasks.h"
#include "common/device/product_kernel.h"

namespace opswap {

// Loads by TMA; finding a task in a plan takes more registers than counting it out does.
template <int Step>
using GroupLoads = TmaRows<Step, 56>;

// Both operands as boxes: input with the rows of each tile, weights of all groups one behind the other by 128 rows.
struct GroupOperands {
  sm90::TensorMap input[kProductTileCount];  // [T, K]
  sm90::TensorMap weight, wide;              // [groups * N, K]; `wide` for tiles of 256 columns

  template <int Tile>
  OPSWAP_DEVICE const sm90::TensorMap &weights() const {
    return group::weights_of(kProductTiles[Tile]) > 128 ? wide : weight;
  }
  template <int Tile, int Step>
  OPSWAP_DEVICE GroupLoads<Step> rows() const {
    if constexpr (kProductTiles[Tile].swap)
      return {weights<Tile>(), input[Tile]};
    else
      return {input[Tile], weights<Tile>()};
  }
};

// The ring of a tile.
template <int Tile>
using GroupMemory = ProductMemory<kProductTiles[Tile].rows, kProductTiles[Tile].columns, kProductTiles[Tile].stages,
                                  kProductTiles[Tile].swap>;

// body<Tile>(plan) with the plan's tile, one of at most `Widest` columns.
template <int Widest, int Tile = 0, class Body>
OPSWAP_DEVICE void with_tile_of(const GroupPlan &plan, Body &&body) {
  if constexpr (kProductTiles[Tile].columns <= Widest && kProductTiles[Tile].rows == 128)
    if (plan.tile == Tile) return body.template operator()<Tile>(plan);
  if constexpr (Tile + 1 < kProductTileCount) with_tile_of<Widest, Tile + 1>(plan, body);
}

// The same in a kernel, or nothing where the record is of another product. No function but inlined ones is between a
// kernel and its products, which a call would serialise.
template <int Widest, class Body>
OPSWAP_DEVICE void with_group_tile(const GroupRecord &record, Body &&body) {
  sm90::dependency_wait();  // a kernel in front may have made the plan
  sm90::dependency_trigger();
  OPSWAP_SHARED(GroupPlan, plan);  // its words are wanted at the start of a task; in between, sums take all registers
  if (threadIdx.x == 0) plan = record.header();
  __syncthreads();
  if (plan.tiles) with_tile_of<Widest>(plan, body);
}

// Adds the parts of tiles that are cut along K, always in the order of K, and puts them out. A block takes shares that
// begin inside a tile, each the first of its tile to do so.
template <class Memory, class Out>
OPSWAP_DEVICE void add_parts(Memory &s, const GroupRecord &record, const GroupPlan &plan, const float *parts,
                             const Out &out) {
  const int thread = int(threadIdx.x);
  for (int share = int(blockIdx.x) + 1; share < plan.blocks; share += int(gridDim.x)) {
    const int64_t from = share_begin(plan, share), tile = from / plan.steps, start = tile * plan.steps;
    if (from == start || share_begin(plan, share - 1) > start) continue;
    const ProductTask task = record.tile(plan, plan.whole + int(tile));
    if (task.part == kNoTile) continue;
    float sums[Memory::kHeld] = {};
    for (int of = share - 1; of < plan.blocks && share_begin(plan, of) < start + plan.steps; ++of) {
      if (share_begin(plan, of) == share_begin(plan, of + 1)) continue;
      const float *const at = part_of<Memory>(parts, 2 * of + (of < share)) + thread * 4;
#pragma unroll
      for (int i = 0; i < Memory::kHeld; i += 4) {
        const auto v = load<4>(at + i * kProductMultiplying);
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i + j] += v[j];
      }
    }
    write_out(s, sums, out_of(out, task), task, 1, thread);
  }
}

// The shape of a product for this device.
template <class Args>
inline GroupShape group_shape(const Args &a, int64_t sms) {
  return {bool(a.masked_m),  int32_t(a.G),         int32_t(a.R),
          int32_t(a.N),      int32_t(a.K),         int32_t(dtype_bytes(a.weight.dtype)),
          a.batch_invariant, product_card(0, sms), int32_t(sms)};
}

// Why a grouped product cannot run, or nullptr.
template <class Args>
inline const char *group_refusal(const Args &a) {
  if (std::max({a.R, a.T, a.G * a.N, a.K}) > INT32_MAX) return "R, T, G * N or K is 2^31 or more";
  if (!group_counts(group_shape(a, 1))) return "it counts fewer than 2^31 tiles";
  if (!tma_reads(a.input)) return "TMA needs the address and the row stride of input to be multiples of 16 bytes";
  if (a.G > 1 && a.weight.stride[0] != a.N * a.weight.stride[1])
    return "TMA needs the weights of groups to lie one behind the other";
  const int64_t shape[2] = {a.G * a.N, a.K}, stride[2] = {a.weight.stride[1], 1};
  Tensor weight = a.weight;
  weight.shape = shape, weight.stride = stride, weight.ndim = 2;
  if (!tma_reads(weight)) return "TMA needs the address and the row stride of weight to be multiples of 16 bytes";
  return nullptr;
}

template <class Args>
inline opswap_status encode_groups(GroupOperands &operands, const Args &a, sm90::MapType type) {
  const int64_t shape[2] = {a.G * a.N, a.K}, stride[2] = {a.weight.stride[1], 1};
  Tensor weight = a.weight;
  weight.shape = shape, weight.stride = stride, weight.ndim = 2;
  const char *why = encode_rows(operands.weight, weight, type, 128);
  if (!why) why = encode_rows(operands.wide, weight, type, 256);
  for (int i = 0; i < kProductTileCount && !why && !a.row_indices; ++i)
    why = encode_rows(operands.input[i], a.input, type, group::tokens_of(kProductTiles[i]));
  return why ? fail(OPSWAP_E_LAUNCH, "%s: needs input and weight that a tensor map describes, came %s", OPSWAP_OP, why)
             : opswap_status{OPSWAP_OK};
}

// Shared memory of the largest tile of a room.
template <template <int> class MemoryOf, int Widest>
constexpr size_t group_smem() {
  size_t most = 0;
  [&]<int... Tile>(std::integer_sequence<int, Tile...>) {
    (([&] {
       if constexpr (kProductTiles[Tile].columns <= Widest && kProductTiles[Tile].rows == 128)
         most = std::max(most, sizeof(MemoryOf<Tile>));
     }()),
     ...);
  }(std::make_integer_sequence<int, kProductTileCount>());
  return most;
}

// Workspace: first the sums of parts, two for each SM of the device, none where no tile is cut; then a plan, where none
// is given.
constexpr int64_t largest_part(int element_bytes) {
  int64_t most = 0;
  for (const ProductTile &t : kProductTiles)
    if (group::takes(t, element_bytes)) most = std::max(most, group::part_bytes(t));
  return most;
}
template <class Args>
inline int64_t part_bytes(const Args &a) {
  const GroupShape of = group_shape(a, device_sms());
  const bool cut = !of.batch_invariant && group::steps_of(of) >= 2 * group::kLeastSteps;
  return cut ? 2 * of.sms * largest_part(of.element_bytes) : 0;
}
template <class Args>
inline size_t group_workspace(const Args &a) {
  return size_t(part_bytes(a)) + (a.plan ? 0 : size_t(group_plan_words(a.G)) * 4);
}

}  // namespace opswap

namespace opswap::OPSWAP_PASS {

// A call: the plan where none is given, the room's kernel or that of scattered rows, and where parts may be left the
// one that adds them up. `more` is what the first two take beside operands and the record.
template <class Args, class Out, class Kernel, class Scattered, class Parts, class... More>
opswap_status launch_groups(const opswap_exec &exec, const Args &a, MapType type, size_t smem, const Out &out,
                            Kernel kernel, Scattered scattered, Parts add, const More &...more) {
  if (!a.R || !a.N || !a.G) return OPSWAP_OK;
  GroupOperands operands{};
  if (opswap_status bad = encode_groups(operands, a, type)) return bad;
  const int64_t sms = sms_of(exec), kept = part_bytes(a);
  char *const workspace = static_cast<char *>(exec.workspace);
  int32_t *const words = a.plan ? a.plan.template as<int32_t>() : reinterpret_cast<int32_t *>(workspace + kept);
  if (!a.plan) {
    const Tensor &index = a.masked_m ? a.masked_m : a.expert_first_row;
    if (opswap_status bad = launch_planner(exec, words, index.template as<const int32_t>(), group_shape(a, sms)))
      return bad;
  }
  const GroupRecord record{words, group_shape(a, device_sms())};
  float *const parts = reinterpret_cast<float *>(workspace);
  const Geometry geometry{.grid = {sms}, .block = {kProductThreads}, .smem = smem, .pdl = true};
  const opswap_status bad =
      a.row_indices ? launch(exec, OPSWAP_OP "_scattered_kernel", scattered, geometry, out, operands, gather_input(a),
                             more..., record, parts)
                    : launch(exec, OPSWAP_OP "_kernel", kernel, geometry, out, operands, more..., record, parts);
  if (bad || !kept) return bad;
  const Geometry adding{.grid = {sms}, .block = {kProductMultiplying}, .smem = smem, .pdl = true};
  return launch(exec, OPSWAP_OP "_parts_kernel", add, adding, out, record, parts);
}

}  // namespace opswap::OPSWAP_PASS
