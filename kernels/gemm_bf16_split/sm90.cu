// gemm_bf16_split on sm_90a: sums over K with the low parts of the weights, times their scale, and on top of them sums
// over K with the high ones. The body that products share is common/device/product_kernel.h.
#include "gemm_bf16_split.gen.h"

#include "common/device/access.h"
#include "common/device/product_kernel.h"
#include "common/device/product_ways.h"

namespace opswap::OPSWAP_PASS {

constexpr int kStep = int(product::kStepBytes / sizeof(bf16));  // of K

// The bias is added at the end: what a sum begins with would be multiplied by the low parts' scale.
struct FloatBiasedRows {
  using T = Scalar;
  static constexpr int kOf = 1;
  ProductOut<Scalar> to;
  const float *bias;  // [N] or nullptr
  OPSWAP_DEVICE float begin(int, int) const { return 0.0f; }
  OPSWAP_DEVICE float finish(float sum, int, int column) const {
    return bias && column < to.n ? sum + load<1>(bias + column)[0] : sum;
  }
};

// Both passes over K are one row of 2 * `each` steps.
struct SplitRows {
  const TensorMap &input, &low, &high;  // [M, K], [N, K], [N, K]
  int each;
  static constexpr int kArrivals = 1, kRegisters = 40;

  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load(Memory &s, const Tasks &tasks, int thread) const {
    if (thread / kWarp != 0 || !elect_one()) return;
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      mbarrier_arrive_expect(s.full[stage], Memory::kStageBytes);
      unsigned char *const of_input = Memory::kSwap ? s.second[stage] : s.first[stage];
      unsigned char *const of_weight = Memory::kSwap ? s.first[stage] : s.second[stage];
      tma_load(of_input, &input, s.full[stage], at(k), task.token);
      tma_load(of_weight, k < each ? &low : &high, s.full[stage], at(k), task.weight);
    });
  }
  template <class Memory>
  OPSWAP_DEVICE void prefetch(const ProductTask &task) const {
    for (int k = task.begin; k < task.end && k < task.begin + Memory::kStages; ++k)
      tma_prefetch_l2(k < each ? &low : &high, at(k), task.weight);
  }

 private:
  OPSWAP_DEVICE int at(int k) const { return (k < each ? k : k - each) * kStep; }
};

struct LowThenHigh : Accumulate<MatrixType::bf16> {
  int each;
  float lo_scale;
  template <class Memory>
  OPSWAP_DEVICE void sum(Memory &s, float (&d)[Memory::kHeld], RingAt<Memory::kStages> &at, int begin, int end,
                         const GiveBack<Memory> &give_back, int thread) const {
    using Part = Accumulate<MatrixType::bf16>;
    if (begin < each) {
      Part::sum(s, d, at, begin, end < each ? end : each, give_back, thread);
#pragma unroll
      for (int i = 0; i < Memory::kHeld; ++i) d[i] *= lo_scale;
    }
    if (end > each) Part::sum(s, d, at, begin > each ? begin : each, end, give_back, thread);
  }
};

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    gemm_bf16_split_kernel(FloatBiasedRows out,                      // [M, N]
                           const __grid_constant__ TensorMap input,  // [M, K]
                           const __grid_constant__ TensorMap low,    // [N, K]
                           const __grid_constant__ TensorMap high,   // [N, K]
                           float lo_scale, ProductPlan plan, int m) {
  using Memory = ProductMemory<Rows, Columns, Stages, Swap>;
  OPSWAP_SMEM(Memory, s);
  const int each = plan.steps / 2;
  run_product(s, LowThenHigh{{}, each, lo_scale}, SplitRows{input, low, high, each}, DenseTasks<Memory>{plan, m}, out);
}

// sass gemm_bf16_split_kernel: HGMMA UTMALDG descriptor=0x40000040
// sass gemm_bf16_split_kernel<128, 128, *: issue<=15
// sass gemm_bf16_split_kernel<128, 256, *: issue<=8
// sass gemm_bf16_split_kernel<128, *, true>: issue<=56

OPSWAP_SM90_CAN(gemm_bf16_split) {
  if (const char *why = product_refusal(a.input, a.weight_hi, a.M, a.N, 2 * a.K)) return why;
  return product_refusal(a.input, a.weight_lo, a.M, a.N, 2 * a.K);
}

ProductCall product_of(const gemm_bf16_split_args &a) {
  return {a.scalar_dtype, a.M, a.N, int64_t(device::round_up<int64_t>(a.K, kStep)), a.batch_invariant};
}
using Ways = ProductWays<gemm_bf16_split_args, product_of, ProductTraits{2 * int(sizeof(bf16)), 256}>;

OPSWAP_SM90_PLANS(gemm_bf16_split) { return Ways::plans(); }

OPSWAP_SM90(gemm_bf16_split) {
  if (!a.M || !a.N) return OPSWAP_OK;
  ProductPlan plan;
  if (const opswap_status bad = Ways::take(a, exec, plan)) return bad;
  const FloatBiasedRows out{product_out<Scalar>(a.out), a.bias ? a.bias.as<const float>() : nullptr};
  return with_product_tile(plan, [&]<ProductTile Tile>() {
    TensorMap input{}, low{}, high{};
    const int of_weight = Tile.swap ? Tile.rows : Tile.columns;
    const char *why = encode_rows(input, a.input, MapType::bf16, Tile.swap ? Tile.columns : Tile.rows);
    if (!why) why = encode_rows(low, a.weight_lo, MapType::bf16, of_weight);
    if (!why) why = encode_rows(high, a.weight_hi, MapType::bf16, of_weight);
    if (why) return fail(OPSWAP_E_LAUNCH, "%s: needs operands that a tensor map describes, came %s", OPSWAP_OP, why);
    return launch_product<ProductMemory<Tile.rows, Tile.columns, Tile.stages, Tile.swap>>(
        exec, "gemm_bf16_split_kernel", gemm_bf16_split_kernel<Tile.rows, Tile.columns, Tile.stages, Tile.swap>, plan,
        out, input, low, high, float(a.lo_scale), plan, int(a.M));
  });
}

}  // namespace opswap::OPSWAP_PASS
