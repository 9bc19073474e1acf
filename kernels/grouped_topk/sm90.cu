// grouped_topk on sm_90a: the best experts of each token out of its best groups, or those of a table, with their
// weights. A warp for each token.
#include "grouped_topk.gen.h"

#include "common/device/access.h"
#include "common/device/reduce.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kMostExperts = 512;
constexpr int kMostWarps = 16;  // of a block: they share the bias in shared memory
constexpr int64_t kBlocksPerSm = 2;
constexpr uint32_t kTaken = 0;  // below the rank of every number

// A number's place in the order of the choice: NaN is largest, -inf stays above what is taken or left out.
OPSWAP_DEVICE uint32_t rank_of(float x) {
  x = x != x ? __uint_as_float(0x7f800000) : x;
  const uint32_t bits = __float_as_uint(x > -3.402823466e38f ? x : -3.402823466e38f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
OPSWAP_DEVICE float number_of(uint32_t rank) { return __uint_as_float(rank >> 31 ? rank & 0x7fffffffu : ~rank); }

enum class Scoring { kSoftmax, kSigmoid, kSqrtSoftplus };

// Of one logit; NaN stays NaN, since fmaxf leaves it to the other term.
OPSWAP_DEVICE float score_of(float x, Scoring scoring) {
  if (scoring == Scoring::kSigmoid) return 1.0f / (1.0f + expf(-x));
  return sqrtf(fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))));
}

// A token's experts in a warp: `Count` per lane, in runs of `Run` neighbours that a lane loads at once.
template <int Count, int Run>
struct Experts {
  float score[Count];
  uint32_t rank[Count];

  OPSWAP_DEVICE static int id(int j) { return (j / Run * kWarp + int(threadIdx.x)) * Run + j % Run; }
  OPSWAP_DEVICE static bool within(int j, int begin, int size) { return unsigned(id(j) - begin) < unsigned(size); }

  OPSWAP_DEVICE void load_row(const Scalar *logits, int experts) {
#pragma unroll
    for (int j = 0; j < Count; j += Run) {
      const Vec<Scalar, Run> run = id(j) < experts ? load<Run>(logits + id(j)) : Vec<Scalar, Run>{};
#pragma unroll
      for (int i = 0; i < Run; ++i) score[j + i] = id(j) < experts ? to_float(run[i]) : Max::kNeutral;
    }
  }

  OPSWAP_DEVICE void to_scores(int experts, Scoring scoring) {
    if (scoring != Scoring::kSoftmax) {
#pragma unroll
      for (int j = 0; j < Count; ++j) score[j] = score_of(score[j], scoring);
      return;
    }
    float largest = -INFINITY, total = 0;
#pragma unroll
    for (int j = 0; j < Count; ++j) largest = id(j) < experts ? fmaxf(largest, score[j]) : largest;
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));  // NaN comes back through the sum
#pragma unroll
    for (int j = 0; j < Count; ++j) {
      score[j] = id(j) < experts ? expf(score[j] - largest) : 0.0f;
      total += score[j];
    }
    const float scale = 1.0f / warp_reduce(total, Sum{});
#pragma unroll
    for (int j = 0; j < Count; ++j) score[j] *= scale;
  }

  // The expert of the largest rank, the lowest of equals; all lanes get it.
  OPSWAP_DEVICE static int best(const uint32_t (&ranks)[Count]) {
    uint32_t largest = kTaken;
    unsigned at = kMostExperts;
#pragma unroll
    for (int j = 0; j < Count; ++j)
      if (ranks[j] > largest) largest = ranks[j], at = unsigned(id(j));
    const uint32_t all = __reduce_max_sync(kAllLanes, largest);
    return int(__reduce_min_sync(kAllLanes, largest == all ? at : unsigned(kMostExperts)));
  }

  // Of the experts [begin, begin + size): the largest number, or the sum of the two largest.
  OPSWAP_DEVICE uint32_t group_rank(int begin, int size, bool both) const {
    uint32_t first = kTaken, second = kTaken;
#pragma unroll
    for (int j = 0; j < Count; ++j) {
      const uint32_t r = within(j, begin, size) ? rank[j] : kTaken;
      second = std::max(second, std::min(first, r));
      first = std::max(first, r);
    }
    const uint32_t top = __reduce_max_sync(kAllLanes, first);
    if (!both) return top;
    const int owner = __ffs(int(__ballot_sync(kAllLanes, first == top))) - 1;
    const uint32_t next = __reduce_max_sync(kAllLanes, int(threadIdx.x) == owner ? second : first);
    return rank_of(number_of(top) + number_of(next));
  }

  // Leaves the experts of the best groups only. Every expert carries the rank of its group.
  OPSWAP_DEVICE void keep_groups(int groups, int kept, int size, bool both) {
    uint32_t group[Count], keep = 0;
#pragma unroll
    for (int j = 0; j < Count; ++j) group[j] = kTaken;
    for (int g = 0; g < groups; ++g) {
      const uint32_t r = group_rank(g * size, size, both);
#pragma unroll
      for (int j = 0; j < Count; ++j) group[j] = within(j, g * size, size) ? r : group[j];
    }
    for (int n = 0; n < kept; ++n) {
      const int begin = best(group) / size * size;
#pragma unroll
      for (int j = 0; j < Count; ++j)
        if (within(j, begin, size)) group[j] = kTaken, keep |= 1u << j;
    }
#pragma unroll
    for (int j = 0; j < Count; ++j) rank[j] = keep >> j & 1 ? rank[j] : kTaken;
  }

  // Takes the best expert out: its number and, in all lanes, its score.
  OPSWAP_DEVICE int take(float &weight) {
    const int e = best(rank);
    float own = 0;
#pragma unroll
    for (int j = 0; j < Count; ++j)
      if (id(j) == e) own = score[j], rank[j] = kTaken;
    weight = __shfl_sync(kAllLanes, own, e / Run % kWarp);
    return e;
  }

  // The score of an expert, in all lanes; of one that there is not, NaN.
  OPSWAP_DEVICE float score_at(int e) const {
    float own = 0;
#pragma unroll
    for (int j = 0; j < Count; ++j)
      if (id(j) == e) own = score[j];
    own = __shfl_sync(kAllLanes, own, e / Run % kWarp);
    return e < 0 ? __uint_as_float(0x7fffffff) : own;
  }
};

struct Routing {
  float *weights;        // [tokens, chosen]
  Indices ids;           // [tokens, chosen]
  const Scalar *logits;  // [tokens, experts]
  const void *bias;      // [experts] or null
  DType bias_dtype;
  Indices names;  // [tokens], the rows of the table
  Indices table;  // [named, chosen]
  int64_t tokens, weights_stride, ids_stride, logits_stride, names_stride, table_stride, named;
  int experts, chosen, groups, kept_groups;
  Scoring scoring;
  bool listed, renormalize;  // the table says which experts
  float factor;

  // Lane's expert of those from `begin` on that the table has; -1 where there is none.
  OPSWAP_DEVICE int expert(int64_t name, int begin) const {
    const int k = begin + int(threadIdx.x);
    if (k >= chosen || uint64_t(name) >= uint64_t(named)) return -1;
    const int64_t e = table[name * table_stride + k];
    return uint64_t(e) < uint64_t(experts) ? int(e) : -1;
  }
};

// The choices of one token, whose name has the lane's `expert` in the table. Lane k keeps every 32nd from k on, so that
// a row is written together; what is in memory before all are known, the lane itself scales there.
template <class Warp>
OPSWAP_DEVICE void choose(Warp &x, const Routing &a, int64_t t, int64_t name, int expert) {
  const int lane = int(threadIdx.x), last = (a.chosen - 1) / kWarp * kWarp;
  float *weights = a.weights + t * a.weights_stride;
  float own = 0, total = 0;
  for (int begin = 0; begin < a.chosen; begin += kWarp) {
    int own_id = 0;
    for (int k = 0; k < kWarp && begin + k < a.chosen; ++k) {
      float weight;
      int e;
      if (a.listed)
        e = __shfl_sync(kAllLanes, expert, k), weight = x.score_at(e);
      else
        e = x.take(weight);
      total += weight;
      own = lane == k ? weight : own;
      own_id = lane == k ? e : own_id;
    }
    if (begin + lane < a.chosen) a.ids.set(t * a.ids_stride + begin + lane, own_id);
    if (begin < last) store(weights + begin + lane, Vec<float, 1>{own});
    if (a.listed) expert = a.expert(name, begin + kWarp);
  }
  const float factor = a.factor / (a.renormalize ? total + 1e-20f : 1.0f);
  for (int k = lane; k < last; k += kWarp) store(weights + k, Vec<float, 1>{load<1>(weights + k)[0] * factor});
  if (last + lane < a.chosen) store(weights + last + lane, Vec<float, 1>{own * factor});
}

// A warp for each token, x lanes wide.
// sass grouped_topk_kernel: LDG.128 REDUX
template <int Count, int Run>
__global__ void __launch_bounds__(kWarp *kMostWarps) grouped_topk_kernel(const __grid_constant__ Routing a) {
  using Warp = Experts<Count, Run>;
  OPSWAP_SHARED(float[Count * kWarp], bias);  // as lanes read it: number j of all lanes side by side
  for (int j = int(threadIdx.y) * Run; j < Count; j += int(blockDim.y) * Run) {
    const bool given = a.bias && Warp::id(j) < a.experts;  // 0 changes no score
    const auto run = given ? load_floats<Run>(a.bias, a.bias_dtype, Warp::id(j)) : Vec<float, Run>{};
#pragma unroll
    for (int i = 0; i < Run; ++i) store_shared(bias + (j + i) * kWarp + threadIdx.x, Vec<float, 1>{run[i]});
  }
  dependency_wait();
  dependency_trigger();
  __syncthreads();
  const int size = a.experts / a.groups;
  for (int64_t t = int64_t(blockIdx.x) * blockDim.y + threadIdx.y; t < a.tokens; t += int64_t(gridDim.x) * blockDim.y) {
    Warp x;
    const int64_t name = a.listed ? a.names[t * a.names_stride] : 0;
    x.load_row(a.logits + t * a.logits_stride, a.experts);
    const int expert = a.listed ? a.expert(name, 0) : -1;  // on its way while scores are worked out
    x.to_scores(a.experts, a.scoring);
    if (!a.listed) {
#pragma unroll
      for (int j = 0; j < Count; ++j)
        x.rank[j] =
            x.id(j) < a.experts ? rank_of(x.score[j] + load_shared<1>(bias + j * kWarp + threadIdx.x)[0]) : kTaken;
      if (a.kept_groups < a.groups) x.keep_groups(a.groups, a.kept_groups, size, a.bias && size > 1);
    }
    choose(x, a, t, name, expert);
  }
}

template <int Count, int Run>
opswap_status start(const grouped_topk_args &a, const opswap_exec &exec) {
  const Tensor &bias = a.e_score_correction_bias, &names = a.input_tokens, &table = a.hash_indices_table;
  const Routing routing{.weights = a.topk_weights.as<float>(),
                        .ids = indices_of(a.topk_ids),
                        .logits = a.gating_output.as<Scalar>(),
                        .bias = table ? nullptr : bias.data,
                        .bias_dtype = bias.dtype,
                        .names = indices_of(names),
                        .table = indices_of(table),
                        .tokens = a.T,
                        .weights_stride = a.topk_weights.stride[0],
                        .ids_stride = a.topk_ids.stride[0],
                        .logits_stride = a.gating_output.stride[0],
                        .names_stride = names ? names.stride[0] : 0,
                        .table_stride = table ? table.stride[0] : 0,
                        .named = a.V,
                        .experts = int(a.E),
                        .chosen = int(a.K),
                        .groups = int(a.num_expert_group),
                        .kept_groups = int(a.topk_group),
                        .scoring = a.use_sigmoid         ? Scoring::kSigmoid
                                   : a.use_sqrt_softplus ? Scoring::kSqrtSoftplus
                                                         : Scoring::kSoftmax,
                        .listed = a.N > 0,
                        .renormalize = a.renormalize,
                        .factor = float(a.routed_scaling_factor)};
  const int64_t sms = sms_of(exec), warps = std::clamp<int64_t>(ceil_div(a.T, sms), 1, kMostWarps);
  const Geometry geometry{
      .grid = {std::min(ceil_div(a.T, warps), sms * kBlocksPerSm)}, .block = {kWarp, warps}, .pdl = true};
  return launch(exec, "grouped_topk_kernel", grouped_topk_kernel<Count, Run>, geometry, routing);
}

template <int Count>
opswap_status start(const grouped_topk_args &a, const opswap_exec &exec) {
  constexpr int kRun = std::min(Count, int(kWidest / sizeof(Scalar)));
  const bool wide = a.E % kRun == 0 && fits(a.gating_output, kRun) && fits(a.e_score_correction_bias, kRun);
  return wide ? start<Count, kRun>(a, exec) : start<Count, 1>(a, exec);
}

OPSWAP_SM90_CAN(grouped_topk) {
  const bool paired = bool(a.input_tokens) == bool(a.hash_indices_table) && (!a.input_tokens || a.N == a.T);
  return paired ? nullptr : "it needs an id of each token and the table of ids, or neither";
}

OPSWAP_SM90(grouped_topk) {
  if (a.E <= 2 * kWarp) return start<2>(a, exec);
  if (a.E <= 4 * kWarp) return start<4>(a, exec);
  if (a.E <= 8 * kWarp) return start<8>(a, exec);
  return start<kMostExperts / kWarp>(a, exec);
}

}  // namespace opswap::OPSWAP_PASS
