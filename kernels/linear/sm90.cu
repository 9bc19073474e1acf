// linear on sm_90a in BF16 and FP16: one warp loads by TMA, two warpgroups multiply 64 rows each. The plan says how the
// product is cut (common/device/product_plan.h); here is the arithmetic.
#include "linear.gen.h"

#include "common/device/access.h"
#include "common/device/product_out.h"
#include "common/device/product_ways.h"
#include "common/sm90/barrier.h"
#include "common/sm90/cluster.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr bool kBf16 = std::is_same_v<Scalar, bf16>;
constexpr MatrixType kType = kBf16 ? MatrixType::bf16 : MatrixType::fp16;
constexpr int kStep = int(product::kStepBytes / sizeof(Scalar));  // of K

// d += first * second of one stage, as a group of products that is under way afterwards.
template <class Memory>
OPSWAP_DEVICE void product(Memory &s, float (&d)[Memory::kHeld], const RingAt<Memory::kStages> &at,
                           const RingOperands<Memory> &operands) {
  mbarrier_wait(s.full[at.stage], at.phase);
  wgmma_fence();
#pragma unroll
  for (int i = 0; i < Memory::kStepBytes; i += 32)
    wgmma<Memory::kColumns, kType>(d, operands.a(at.stage, i), operands.b(at.stage, i));
  wgmma_commit();
}

// d += first * second over the steps of this block. While one stage is waited for the group of the one before is under
// way, so that is given back once the next group is issued.
template <class Memory>
OPSWAP_DEVICE void multiply(Memory &s, float (&d)[Memory::kHeld], RingAt<Memory::kStages> &at, ProductShare share,
                            int thread) {
  if (share.begin == share.end) return;
  const RingOperands<Memory> operands(s, thread);
  const bool gives_back = thread % kWarpgroup == 0;
  operand_fence(d);  // what the sums start as is there before the first product
  product(s, d, at, operands);
  int before = at.stage;
  at.next();
  for (int k = share.begin + 1; k < share.end; ++k, at.next()) {
    product(s, d, at, operands);
    wgmma_wait<1>();
    if (gives_back) mbarrier_arrive(s.empty[before]);
    before = at.stage;
  }
  wgmma_wait();
  operand_fence(d);
  if (gives_back) mbarrier_arrive(s.empty[before]);
}

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    linear_kernel(ProductOut<Scalar> out,                    // [M, N]
                  const __grid_constant__ TensorMap first,   // [M, K] input, or with Swap [N, K] weight
                  const __grid_constant__ TensorMap second,  // [N, K] weight, or with Swap [M, K] input
                  const Scalar *bias,                        // [N] or nullptr
                  ProductPlan plan) {
  using Memory = ProductMemory<Rows, Columns, Stages, Swap>;
  OPSWAP_SMEM(Memory, s);
  const ProductShare share = share_of(plan);
  const int thread = int(threadIdx.x);
  const bool loads = thread / kWarp == kProductMultiplying / kWarp;
  if (loads && elect_one()) {
    ring_init(s, kProductMultiplying / kWarpgroup);
    ring_prefetch<Memory>(Swap ? first : second, plan, share, kStep);
  }
  __syncthreads();
  dependency_wait();
  dependency_trigger();
  if (thread >= kProductMultiplying) {
    registers_shrink<40>();
    if (loads && elect_one()) ring_load(s, first, second, plan, share, kStep);
    return;
  }
  registers_grow<232>();
  float d[Memory::kHeld];
  RingAt<Stages> at;
  for (int number = share.tile; number < plan.down * plan.across; number += plan.clusters) {
    const TileAt tile = tile_at(plan, number);
    product_begin<Memory>(d, share.begin == 0 ? bias : nullptr, tile, out.n, thread);
    multiply(s, d, at, share, thread);
    if constexpr (Swap) {
      if (plan.split > 1) {
        barrier_sync(1, kProductMultiplying);  // neither warpgroup reads the ring any more
        share_sums(s, d, thread);
        cluster_sync();
      }
      write_turned(s, d, out, tile, plan.split, thread);
    } else {
      write_product(s, d, out, tile, thread);
    }
  }
  if (plan.split > 1) cluster_sync();  // the peers have read this block's sums
}

// sass linear_kernel: HGMMA UTMALDG STG.128 descriptor=0x40000040
// sass linear_kernel<128, 128, *: issue<=24
// sass linear_kernel<128, 256, *: issue<=13
// sass linear_kernel<128, *, true>: issue<=80

OPSWAP_SM90_CAN(linear) {
  if (a.weight_dtype != a.scalar_dtype) return "input and weight differ in dtype, and wgmma multiplies one dtype";
  if (std::max({a.M, a.N, a.K}) > INT32_MAX) return "M, N or K is 2^31 or more, and TMA counts in 32 bits";
  if (!tma_reads(a.input)) return "TMA needs the address and the row stride of input to be multiples of 16 bytes";
  if (!tma_reads(a.weight)) return "TMA needs the address and the row stride of weight to be multiples of 16 bytes";
  return nullptr;
}

template <int Tile>
opswap_status start(const linear_args &a, const opswap_exec &exec, const ProductPlan &plan) {
  constexpr ProductTile kTile = kProductTiles[Tile];
  constexpr MapType kMap = kBf16 ? MapType::bf16 : MapType::f16;
  const Tensor &first = kTile.swap ? a.weight : a.input, &second = kTile.swap ? a.input : a.weight;
  TensorMap first_map{}, second_map{};
  const char *why = encode_rows(first_map, first, kMap, kTile.rows);
  if (!why) why = encode_rows(second_map, second, kMap, kTile.columns);
  if (why) return fail(OPSWAP_E_LAUNCH, "linear: needs input and weight that a tensor map describes, came %s", why);
  const Geometry geometry{.grid = {int64_t(plan.clusters) * plan.split},
                          .block = {kProductThreads},
                          .smem = sizeof(ProductMemory<kTile.rows, kTile.columns, kTile.stages, kTile.swap>),
                          .cluster = {plan.split},
                          .pdl = true};
  return launch(exec, "linear_kernel", linear_kernel<kTile.rows, kTile.columns, kTile.stages, kTile.swap>, geometry,
                product_out<Scalar>(a.out), first_map, second_map, a.bias ? a.bias.as<const Scalar>() : nullptr, plan);
}

ProductCall product_of(const linear_args &a) { return {a.scalar_dtype, a.M, a.N, a.K}; }
using Ways = ProductWays<linear_args, product_of, ProductTraits{int(sizeof(Scalar)), 256}>;

OPSWAP_SM90_PLANS(linear) { return Ways::plans(); }

OPSWAP_SM90(linear) {
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
