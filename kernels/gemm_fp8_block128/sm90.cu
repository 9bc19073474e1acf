// gemm_fp8_block128 on sm_90a: codes times codes, summed in float32 over 128 of K at a time and added to sums times
// both scales. One warp loads by TMA, one brings the scales, two warpgroups multiply 64 rows each; the plan says how
// the product is cut (common/device/product_plan.h).
#include "gemm_fp8_block128.gen.h"

#include "common/device/access.h"
#include "common/device/product_out.h"
#include "common/device/product_ways.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cluster.h"
#include "common/sm90/cp_async.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kBlock = 128, kWidest = 128;
static_assert(product::kStepBytes == kBlock, "a stage has one scale of each row");

// The ring, and with each stage the scales of its 128 of K.
template <class Memory>
struct Scaled : Memory {
  static constexpr int kTokens = Memory::kSwap ? Memory::kColumns : Memory::kRows;
  static_assert((Memory::kSwap ? Memory::kRows : Memory::kColumns) == kBlock, "a tile has one block of weights");
  float token[Memory::kStages][kTokens], block[Memory::kStages];
};

struct Scales {
  const float *input;   // [M, groups], or [groups, M]
  const float *weight;  // [ceil(N / 128), groups]
  int64_t input_row, input_group, weight_row;
  int tokens;
};

// A warp of its own brings the scales, which TMA cannot: their rows start anywhere.
template <class Memory>
OPSWAP_DEVICE void load_scales(Memory &s, const Scales &scales, const ProductPlan &plan, ProductShare share, int lane) {
  RingAt<Memory::kStages> at;
  for (int tile = share.tile; tile < plan.down * plan.across; tile += plan.clusters) {
    const auto [down, across] = tile_at(plan, tile);
    const int first = Memory::kSwap ? across * Memory::kColumns : down * Memory::kRows;
    const float *const weight = scales.weight + (Memory::kSwap ? down : across) * scales.weight_row;
    for (int k = share.begin; k < share.end; ++k, at.next()) {
      mbarrier_wait(s.empty[at.stage], at.phase ^ 1);
      for (int i = lane; i < Memory::kTokens; i += kWarp) {
        const bool inside = first + i < scales.tokens;
        const int64_t from = (inside ? first + i : 0) * scales.input_row + k * scales.input_group;
        cp_async<4>(&s.token[at.stage][i], scales.input + from, inside ? 4 : 0);
      }
      if (lane == 0) cp_async<4>(&s.block[at.stage], weight + k);
      cp_async_arrive(s.full[at.stage]);
    }
  }
}

// d = first * second of one stage, as a group of products that is under way afterwards.
template <class Memory>
OPSWAP_DEVICE void product(Memory &s, float (&d)[Memory::kHeld], const RingAt<Memory::kStages> &at,
                           const RingOperands<Memory> &operands) {
  mbarrier_wait(s.full[at.stage], at.phase);
  operand_fence(d);
  wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kStepBytes; i += 32)
    wgmma<Memory::kColumns, MatrixType::e4m3>(d, operands.a(at.stage, i), operands.b(at.stage, i), i > 0);
  wgmma_commit();
}

// Both scales of what a thread has of a tile: of its two rows, or with Swap of its columns, two of each eight.
template <class Memory>
struct Factors {
  static constexpr int kCount = Memory::kSwap ? Memory::kColumns / 4 : 2;
  float of[kCount];
  OPSWAP_DEVICE Factors(const Memory &s, int stage, int thread) {
    using Held = Accumulator<Memory::kColumns>;
    const int in_group = thread % kWarpgroup, base = Memory::kSwap ? 0 : thread / kWarpgroup * 64;
    const float block = load_shared<1>(&s.block[stage])[0];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int value = Memory::kSwap ? i / 2 * 4 + i % 2 : i * 2;
      const int token = base + (Memory::kSwap ? Held::column(in_group, value) : Held::row(in_group, value));
      of[i] = block * load_shared<1>(&s.token[stage][token])[0];
    }
  }
  OPSWAP_DEVICE float at(int value) const { return of[Memory::kSwap ? value / 4 * 2 + value % 2 : value % 4 / 2]; }
};

// sums += d times its scales; then the stage may be filled again.
template <class Memory>
OPSWAP_DEVICE void promote(Memory &s, float (&sums)[Memory::kHeld], float (&d)[Memory::kHeld],
                           const Factors<Memory> &factors, int stage) {
  operand_fence(d);
  __syncwarp();  // all lanes have read their scales
  if (threadIdx.x % kWarp == 0) mbarrier_arrive(s.empty[stage]);
#pragma unroll
  for (int i = 0; i < Memory::kHeld; ++i) sums[i] = fmaf(d[i], factors.at(i), sums[i]);
}

// The steps of this block by pairs: two groups of products are issued, and the first is added up while the second is
// under way. Nothing is under way from one pair to the next; the other warpgroup has the tensor cores then.
template <class Memory>
OPSWAP_DEVICE void multiply(Memory &s, float (&sums)[Memory::kHeld], RingAt<Memory::kStages> &at, ProductShare share,
                            int thread) {
  const RingOperands<Memory> operands(s, thread);
  float d[2][Memory::kHeld];
  int k = share.begin;
  for (; k + 1 < share.end; k += 2) {
    const int first = at.stage;
    product(s, d[0], at, operands);
    at.next();
    const int second = at.stage;
    product(s, d[1], at, operands);
    at.next();
    const Factors<Memory> of_first(s, first, thread), of_second(s, second, thread);
    wgmma_wait<1>();
    promote(s, sums, d[0], of_first, first);
    wgmma_wait();
    promote(s, sums, d[1], of_second, second);
  }
  if (k < share.end) {
    product(s, d[0], at, operands);
    const Factors<Memory> factors(s, at.stage, thread);
    wgmma_wait();
    promote(s, sums, d[0], factors, at.stage);
    at.next();
  }
}

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    gemm_fp8_block128_kernel(ProductOut<Scalar> out,                    // [M, N]
                             const __grid_constant__ TensorMap first,   // [M, K] input, or with Swap [N, K] weight
                             const __grid_constant__ TensorMap second,  // [N, K] weight, or with Swap [M, K] input
                             Scales scales,
                             const Scalar *bias,  // [N] or nullptr
                             ProductPlan plan) {
  using Memory = Scaled<ProductMemory<Rows, Columns, Stages, Swap>>;
  OPSWAP_SMEM(Memory, s);
  const ProductShare share = share_of(plan);
  const int thread = int(threadIdx.x), of_loads = thread / kWarp - kProductMultiplying / kWarp;
  if (of_loads == 0 && elect_one()) {
    ring_init(s, kProductMultiplying / kWarp, kWarp);
    ring_prefetch<Memory>(Swap ? first : second, plan, share, kBlock);
  }
  __syncthreads();
  dependency_wait();
  dependency_trigger();
  if (thread >= kProductMultiplying) {
    registers_shrink<56>();
    if (of_loads == 0 && elect_one()) ring_load(s, first, second, plan, share, kBlock);
    if (of_loads == 1) load_scales(s, scales, plan, share, thread % kWarp);
    return;
  }
  registers_grow<224>();
  float sums[Memory::kHeld];
  RingAt<Stages> at;
  for (int number = share.tile; number < plan.down * plan.across; number += plan.clusters) {
    const TileAt tile = tile_at(plan, number);
    product_begin<Memory>(sums, share.begin == 0 ? bias : nullptr, tile, out.n, thread);
    multiply(s, sums, at, share, thread);
    if constexpr (Swap) {
      if (plan.split > 1) {
        barrier_sync(1, kProductMultiplying);  // neither warpgroup reads the ring any more
        share_sums(s, sums, thread);
        cluster_sync();
      }
      write_turned(s, sums, out, tile, plan.split, thread);
    } else {
      write_product(s, sums, out, tile, thread);
    }
  }
  if (plan.split > 1) cluster_sync();  // the peers have read this block's sums
}

// sass gemm_fp8_block128_kernel: QGMMA UTMALDG STG.128 descriptor=0x40000040
// sass gemm_fp8_block128_kernel<128, 128, *: issue<=45
// sass gemm_fp8_block128_kernel<128, *, true>: issue<=81

OPSWAP_SM90_CAN(gemm_fp8_block128) {
  if (a.input_dtype != DType::float8_e4m3fn) return "input is of 16 bits, and its kernels multiply codes with codes";
  if (!a.input_scale) return "input is codes without input_scale";
  if (std::max({a.M, a.N, a.K}) > INT32_MAX) return "M, N or K is 2^31 or more, and TMA counts in 32 bits";
  if (!tma_reads(a.input)) return "TMA needs the address and the row stride of input to be multiples of 16 bytes";
  if (!tma_reads(a.weight)) return "TMA needs the address and the row stride of weight to be multiples of 16 bytes";
  return nullptr;
}

Scales scales_of(const gemm_fp8_block128_args &a) {
  const int64_t row = a.input_scale.stride[0], group = a.input_scale.stride[1];
  return {a.input_scale.as<const float>(), a.weight_scale.as<const float>(), a.mn_major ? group : row,
          a.mn_major ? row : group,        a.weight_scale.stride[0],         int(a.M)};
}

template <int Tile>
opswap_status start(const gemm_fp8_block128_args &a, const opswap_exec &exec, const ProductPlan &plan) {
  constexpr ProductTile kTile = kProductTiles[Tile];
  if constexpr (kTile.columns > kWidest) {
    return OPSWAP_E_INTERNAL;
  } else {
    const Tensor &first = kTile.swap ? a.weight : a.input, &second = kTile.swap ? a.input : a.weight;
    TensorMap first_map{}, second_map{};
    const char *why = encode_rows(first_map, first, MapType::u8, kTile.rows);
    if (!why) why = encode_rows(second_map, second, MapType::u8, kTile.columns);
    if (why)
      return fail(OPSWAP_E_LAUNCH, "%s: needs input and weight that a tensor map describes, came %s", OPSWAP_OP, why);
    using Memory = Scaled<ProductMemory<kTile.rows, kTile.columns, kTile.stages, kTile.swap>>;
    const Geometry geometry{.grid = {int64_t(plan.clusters) * plan.split},
                            .block = {kProductThreads},
                            .smem = sizeof(Memory),
                            .cluster = {plan.split},
                            .pdl = true};
    return launch(exec, "gemm_fp8_block128_kernel",
                  gemm_fp8_block128_kernel<kTile.rows, kTile.columns, kTile.stages, kTile.swap>, geometry,
                  product_out<Scalar>(a.out), first_map, second_map, scales_of(a),
                  a.bias ? a.bias.as<const Scalar>() : nullptr, plan);
  }
}

ProductCall product_of(const gemm_fp8_block128_args &a) { return {a.scalar_dtype, a.M, a.N, a.K}; }
using Ways = ProductWays<gemm_fp8_block128_args, product_of, ProductTraits{1, kWidest}>;

OPSWAP_SM90_PLANS(gemm_fp8_block128) { return Ways::plans(); }

OPSWAP_SM90(gemm_fp8_block128) {
  if (!a.M || !a.N) return OPSWAP_OK;
  ProductPlan plan;
  if (opswap_status e = Ways::take(a, exec, plan)) return e;
  opswap_status status = OPSWAP_E_INTERNAL;
  [&]<int... Tile>(std::integer_sequence<int, Tile...>) {
    ((plan.tile == Tile && (status = start<Tile>(a, exec, plan), true)) || ...);
  }(std::make_integer_sequence<int, kProductTileCount>());
  return status;
}

}  // namespace opswap::OPSWAP_PASS
