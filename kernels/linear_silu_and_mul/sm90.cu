// linear_silu_and_mul on sm_90a in BF16 and FP16: the product of linear, of whose sums a thread has gate and up of the
// same outputs. The body that products share is common/device/product_kernel.h.
#include "linear_silu_and_mul.gen.h"

#include "common/device/access.h"
#include "common/device/activation.h"
#include "common/device/product_kernel.h"
#include "common/device/product_ways.h"

namespace opswap::OPSWAP_PASS {

constexpr bool kBf16 = std::is_same_v<Scalar, bf16>;
constexpr MatrixType kType = kBf16 ? MatrixType::bf16 : MatrixType::fp16;
constexpr MapType kMap = kBf16 ? MapType::bf16 : MapType::f16;
constexpr int kStep = int(product::kStepBytes / sizeof(Scalar));  // of K
constexpr int kEights = 8, kOf = 2;  // rows of gate, then as many of up; an output has one of each
constexpr int kWidest = 128;         // with 256 columns the activation would spill

// silu of gate times up, of sums that begin with their bias.
struct Activated {
  using T = Scalar;
  static constexpr int kOf = 2;
  ProductOut<Scalar> to;
  const Scalar *bias;  // [2 * I] or nullptr
  OPSWAP_DEVICE float begin(int column, int up) const {
    return bias && column < to.n ? to_float(load<1>(bias + up * to.n + column)[0]) : 0.0f;
  }
  OPSWAP_DEVICE float finish(float gate, float up, int, int) const { return up * Silu{}(gate); }
};

// As TmaRows, but for the weight, whose boxes take eight rows of gate and of up in turn: they are not rewritten for it.
struct GateUpRows {
  const TensorMap &first, &second;  // input [M, K] and weight [I / 8, gate and up, 8, K], or with swap the other way
  static constexpr int kArrivals = 1, kRegisters = 40;

  template <class Memory, class Tasks>
  OPSWAP_DEVICE void load(Memory &s, const Tasks &tasks, int thread) const {
    if (thread / kWarp != 0 || !elect_one()) return;
    each_stage(s, tasks, [&](const ProductTask &task, int k, int stage) {
      mbarrier_arrive_expect(s.full[stage], Memory::kStageBytes);
      unsigned char *const input = Memory::kSwap ? s.second[stage] : s.first[stage];
      unsigned char *const weight = Memory::kSwap ? s.first[stage] : s.second[stage];
      tma_load(input, Memory::kSwap ? &second : &first, s.full[stage], k * kStep, task.token);
      tma_load(weight, Memory::kSwap ? &first : &second, s.full[stage], k * kStep, 0, 0, eights(task));
    });
  }
  template <class Memory>
  OPSWAP_DEVICE void prefetch(const ProductTask &task) const {
    for (int k = task.begin; k < task.end && k < task.begin + Memory::kStages; ++k)
      tma_prefetch_l2(Memory::kSwap ? &first : &second, k * kStep, 0, 0, eights(task));
  }

 private:
  static OPSWAP_DEVICE int eights(const ProductTask &task) { return task.weight / (kOf * kEights); }
};

template <int Rows, int Columns, int Stages, bool Swap>
__global__ void __launch_bounds__(kProductThreads, 1)
    linear_silu_and_mul_kernel(Activated out,                             // [M, I]
                               const __grid_constant__ TensorMap first,   // [M, K] input, or with Swap the weight
                               const __grid_constant__ TensorMap second,  // [2 * I, K] weight, or with Swap the input
                               ProductPlan plan, int m) {
  using Memory = ProductMemory<Rows, Columns, Stages, Swap>;
  OPSWAP_SMEM(Memory, s);
  run_product(s, Accumulate<kType>{}, GateUpRows{first, second}, DenseTasks<Memory, kOf>{plan, m}, out);
}

// sass linear_silu_and_mul_kernel: HGMMA UTMALDG STG.128 descriptor=0x40000040
// sass linear_silu_and_mul_kernel<128, 128, *: issue<=15
// sass linear_silu_and_mul_kernel<128, *, true>: issue<=56

OPSWAP_SM90_CAN(linear_silu_and_mul) {
  if (a.scalar_dtype == DType::float32) return "input is float32, and wgmma multiplies 16 bits";
  if (a.I % kEights) return "I is no multiple of 8: rows of gate and up alternate by eights";
  return product_refusal(a.input, a.weight, a.M, 2 * a.I, a.K);
}

// Boxes of `rows` rows out of weight [2 * I, K], seen as [I / 8, gate and up, 8, K].
static const char *encode_gate_up(TensorMap &map, const Tensor &weight, int64_t outputs, int rows) {
  if (!weight.shape[1]) return nullptr;  // no step of K, so nothing loads
  const uint64_t row = uint64_t(weight.stride[0]) * sizeof(Scalar);
  TensorMapSpec spec{
      kMap, 4, weight.data, {uint64_t(weight.shape[1]), uint64_t(kEights), uint64_t(kOf), uint64_t(outputs / kEights)}};
  spec.stride[0] = row, spec.stride[1] = row * uint64_t(outputs), spec.stride[2] = row * kEights;
  spec.box[0] = uint32_t(kStep), spec.box[1] = kEights, spec.box[2] = kOf,
  spec.box[3] = uint32_t(rows / (kOf * kEights));
  spec.swizzle = MapSwizzle::b128, spec.promotion = MapPromotion::b256;
  return encode(map, spec);
}

ProductCall product_of(const linear_silu_and_mul_args &a) {
  return {a.scalar_dtype, a.M, 2 * a.I, a.K, a.batch_invariant};
}
using Ways = ProductWays<linear_silu_and_mul_args, product_of, ProductTraits{int(sizeof(Scalar)), kWidest}>;

OPSWAP_SM90_PLANS(linear_silu_and_mul) { return Ways::plans(); }

OPSWAP_SM90(linear_silu_and_mul) {
  if (!a.M || !a.I) return OPSWAP_OK;
  ProductPlan plan;
  if (const opswap_status bad = Ways::take(a, exec, plan)) return bad;
  const Activated out{product_out<Scalar>(a.out), a.bias ? a.bias.as<const Scalar>() : nullptr};
  return with_product_tile<kWidest>(plan, [&]<ProductTile Tile>() {
    TensorMap input{}, weight{};
    const char *why = encode_rows(input, a.input, kMap, Tile.swap ? Tile.columns : Tile.rows);
    if (!why) why = encode_gate_up(weight, a.weight, a.I, Tile.swap ? Tile.rows : Tile.columns);
    if (why) return fail(OPSWAP_E_LAUNCH, "%s: needs operands that a tensor map describes, came %s", OPSWAP_OP, why);
    return launch_product<ProductMemory<Tile.rows, Tile.columns, Tile.stages, Tile.swap>>(
        exec, "linear_silu_and_mul_kernel", linear_silu_and_mul_kernel<Tile.rows, Tile.columns, Tile.stages, Tile.swap>,
        plan, out, Tile.swap ? weight : input, Tile.swap ? input : weight, plan, int(a.M));
  });
}

}  // namespace opswap::OPSWAP_PASS
