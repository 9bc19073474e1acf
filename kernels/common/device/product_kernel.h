// The body that all matrix products on sm_90a share: a warpgroup loads a ring of stages, two others, or one in a tile
// of 64 rows, multiply 64 rows of the first operand each and write. A room's sm90.cu chooses five parts, each a struct,
// and has a kernel of its own:
//
//   template <int Rows, int Columns, int Stages, bool Swap>
//   __global__ void __launch_bounds__(kProductThreads, 1)
//       my_kernel(const __grid_constant__ TensorMap first, const __grid_constant__ TensorMap second, Plan p, int m) {
//     using Memory = ProductMemory<Rows, Columns, Stages, Swap>;
//     OPSWAP_SMEM(Memory, s);
//     run_product(s, Accumulate<kType>{}, TmaRows<kStep>{first, second}, DenseTasks<Memory>{p, m}, out);
//   }
//
//   memory      ProductMemory, or one that inherits it and has more with each stage (product_scales.h)
//   arithmetic  Accumulate or Promote of product_sums.h, which says what an arithmetic has
//   loads       TmaRows of product_ring.h, or the room's: kArrivals at a stage, kRegisters, load() and prefetch();
//               each_stage() there walks through the stages
//   tasks       DenseTasks of product_tasks.h, which says what a source of tasks has
//   out         BiasedRows of product_out.h, which says what a way out has
//
// On the host: product_refusal() in the room's CAN, encode_operands(), encode_out() where rows may go out by TMA, and
// launch_product() of the tile that the plan chose, by with_product_tile(). Pairs of blocks that share loads are for
// rooms whose ProductTraits say so and whose loads are TmaRows.
#pragma once

#include "common/device/product_out.h"
#include "common/device/product_sums.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cluster.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap {

template <class Memory, class Arithmetic, class Loads, class Tasks, class Out>
OPSWAP_DEVICE void run_product(Memory &s, const Arithmetic &arithmetic, const Loads &loads, const Tasks &tasks,
                               const Out &out) {
  // Those who load leave registers to those who multiply; a block is launched with 168 for each thread, one of two
  // warpgroups too: launch bounds of two make ptxas move descriptors through registers of each thread.
  constexpr int kMultiplying = Memory::kMultiplying;
  constexpr int kRegisters = kMultiplying == device::kWarpgroup ? 232 : (168 * 3 - Loads::kRegisters) / 2;
  const int thread = int(threadIdx.x);
  if (thread / device::kWarp == kMultiplying / device::kWarp && sm90::elect_one()) {
    ring_init(s, Loads::kArrivals, kMultiplying / Arithmetic::kReaderThreads * tasks.pair());
    if constexpr (Tasks::kEarly) loads.template prefetch<Memory>(tasks.at(tasks.first()));
  }
  if (tasks.pair() > 1)
    sm90::cluster_sync();  // the other block's barriers are there
  else
    __syncthreads();
  sm90::dependency_wait();
  sm90::dependency_trigger();
  if (thread >= kMultiplying) {
    sm90::registers_shrink<Loads::kRegisters>();
    loads.load(s, tasks, thread - kMultiplying);
    return;
  }
  sm90::registers_grow<kRegisters>();
  const GiveBack<Memory> give_back(s, thread % Arithmetic::kReaderThreads, tasks.pair());
  float sums[Memory::kHeld];
  RingAt<Memory::kStages> at;
  for (int number = tasks.first(); number < tasks.end(); number += tasks.step()) {
    const ProductTask task = tasks.at(number);
    if (Tasks::kParts && task.part == kNoTile) continue;
    begin_sums<Memory>(sums, out, task, thread);
    arithmetic.sum(s, sums, at, task.begin, task.end, give_back, thread);
    if constexpr (Tasks::kParts) {
      if (task.part != kWholeTile) {
        tasks.keep(sums, task, thread);
        continue;
      }
    }
    if constexpr (kSumsFit<Memory>) {
      if (tasks.split() > 1) {
        sm90::barrier_sync(1, kMultiplying);  // neither warpgroup reads the ring any more
        share_sums(s, sums, thread);
        sm90::cluster_sync();
      }
    }
    write_out(s, sums, out_of(out, task), task, tasks.split(), thread);
  }
  if (out.to.boxed && sm90::elect_one()) sm90::tma_wait();
  if (tasks.split() * tasks.pair() > 1) sm90::cluster_sync();  // no block of the cluster needs this one's memory
}

// Why the operands of a product cannot be read, or nullptr.
inline const char *product_refusal(const Tensor &input, const Tensor &weight, int64_t m, int64_t n, int64_t k) {
  if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX) return "M, N or K is 2^31 or more, and TMA counts in 32 bits";
  if (!tma_reads(input)) return "TMA needs the address and the row stride of input to be multiples of 16 bytes";
  if (!tma_reads(weight)) return "TMA needs the address and the row stride of weight to be multiples of 16 bytes";
  return nullptr;
}

// Both operands as boxes of a tile's rows, of the second one half as many for each block of a pair: OPSWAP_OK, or why
// not.
inline opswap_status encode_operands(sm90::TensorMap &first, sm90::TensorMap &second, const ProductTile &tile, int pair,
                                     const Tensor &input, const Tensor &weight, sm90::MapType type) {
  const char *why = encode_rows(first, tile.swap ? weight : input, type, tile.rows);
  if (!why) why = encode_rows(second, tile.swap ? input : weight, type, tile.columns / pair);
  if (!why) return OPSWAP_OK;
  return fail(OPSWAP_E_LAUNCH, "%s: needs input and weight that a tensor map describes, came %s", OPSWAP_OP, why);
}

// Rows of out as boxes of what a warp puts out at once, where a tensor map can describe them.
inline bool encode_out(sm90::TensorMap &map, const Tensor &out, sm90::MapType type) {
  const int64_t element = dtype_bytes(out.dtype), stride = out.shape[0] > 1 ? out.stride[0] : out.shape[1];
  if (!tma_reads(out)) return false;
  sm90::TensorMapSpec spec{type, 2, out.data, {uint64_t(out.shape[1]), uint64_t(out.shape[0])}};
  spec.stride[0] = uint64_t(device::round_up<int64_t>(stride * element, 16));
  spec.box[0] = uint32_t(product::kStepBytes / element), spec.box[1] = 16;
  spec.swizzle = sm90::MapSwizzle::b128;
  return !sm90::encode(map, spec);
}

// body<Tile>() for the plan's tile, if it is one of at most `Widest` columns and at least `Lowest` rows.
template <int Widest = 256, int Lowest = 128, class Body>
static opswap_status with_product_tile(const ProductPlan &plan, Body &&body) {
  opswap_status status = OPSWAP_E_INTERNAL;
  const auto one = [&]<int Tile>() {
    if constexpr (kProductTiles[Tile].columns <= Widest && kProductTiles[Tile].rows >= Lowest)
      status = body.template operator()<kProductTiles[Tile]>();
  };
  [&]<int... Tile>(std::integer_sequence<int, Tile...>) {
    ((plan.tile == Tile && (one.template operator()<Tile>(), true)) || ...);
  }(std::make_integer_sequence<int, kProductTileCount>());
  return status;
}

template <class Memory, class... P, class... A>
static opswap_status launch_product(const opswap_exec &exec, const char *name, void (*kernel)(P...),
                                    const ProductPlan &plan, A &&...args) {
  const Geometry geometry{.grid = {int64_t(plan.clusters) * plan.split * plan.pair},
                          .block = {Memory::kThreads},
                          .smem = sizeof(Memory),
                          .cluster = {plan.split * plan.pair},
                          .pdl = true};
  return launch(exec, name, kernel, geometry, std::forward<A>(args)...);
}

}  // namespace opswap
