// grouped_topk on a CPU: the best experts of each token out of its best groups, or those of a table, with their
// weights. Token by token.
#include "grouped_topk.gen.h"

#include <algorithm>
#include <cmath>

#include "common/argmax.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kMostExperts = 512;
constexpr float kLowest = -__FLT_MAX__, kTaken = -__builtin_inff();

// What is compared: NaN is largest, and -inf stays above what is taken or left out, so no index comes twice.
template <class F>
static F comparable(F x) {
  const F largest = x == x ? x : F{} + __builtin_inff();
  return largest > kLowest ? largest : F{} + kLowest;
}

static float bias_at(const grouped_topk_args &a, int64_t e) {
  const Tensor &bias = a.e_score_correction_bias;
  return a.bias_dtype == DType::bfloat16 ? to_float(bias.as<bf16>()[e]) : bias.as<float>()[e];
}

// Expert k of token t, as the table has it.
static int64_t listed(const grouped_topk_args &a, int64_t t, int64_t k) {
  const int64_t token = index_at(a.input_tokens, t);
  return a.index_dtype == DType::int64 ? row<int64_t>(a.hash_indices_table, token)[k]
                                       : row<int32_t>(a.hash_indices_table, token)[k];
}

// Of the table the rows that are read, which may be few of many.
OPSWAP_CHECK(grouped_topk) {
  if (bool(a.input_tokens) != bool(a.hash_indices_table))
    return fail(OPSWAP_E_ARGUMENT,
                "grouped_topk: %s is not given, needs both input_tokens and hash_indices_table or none",
                a.input_tokens ? "hash_indices_table" : "input_tokens");
  if (a.input_tokens && a.N != a.T)
    return fail(OPSWAP_E_SHAPE, "grouped_topk: input_tokens has %lld ids, needs T = %lld", (long long)a.N,
                (long long)a.T);
  for (int64_t t = 0; t < a.N; ++t)
    for (int64_t k = 0; k < a.K; ++k)
      if (const int64_t e = listed(a, t, k); e < 0 || e >= a.E)
        return fail(OPSWAP_E_VALUE, "grouped_topk: hash_indices_table[%lld][%lld] is %lld, needs 0 to E - 1 = %lld",
                    (long long)index_at(a.input_tokens, t), (long long)k, (long long)e, (long long)a.E - 1);
  return OPSWAP_OK;
}

// The experts of a token and their scores; the weights follow from the scores.
static void write(const grouped_topk_args &a, int64_t t, const int64_t *ids, const float *scores) {
  float total = 0;
  for (int64_t k = 0; k < a.K; ++k) total += scores[k];
  const float factor = float(a.routed_scaling_factor) / (a.renormalize ? total + 1e-20f : 1.0f);
  for (int64_t k = 0; k < a.K; ++k) {
    row<float>(a.topk_weights, t)[k] = scores[k] * factor;
    if (a.index_dtype == DType::int64)
      row<int64_t>(a.topk_ids, t)[k] = ids[k];
    else
      row<int32_t>(a.topk_ids, t)[k] = int32_t(ids[k]);
  }
}

// The two largest values seen.
template <class F>
struct TopTwo {
  F first = F{} + kTaken, second = F{} + kTaken;
  void take(F x) {
    const F lesser = x < first ? x : first;
    second = lesser > second ? lesser : second;
    first = x > first ? x : first;
  }
};

// chosen(k, index) for the `count` largest of n values, best first; they are marked as taken.
template <class Argmax, class Chosen>
static void choose(float *values, int64_t n, int64_t count, Argmax &&argmax, Chosen &&chosen) {
  for (int64_t k = 0; k < count; ++k) {
    const int64_t best = argmax(values, n);
    values[best] = kTaken;
    chosen(k, best);
  }
}

// Of one token: scores and what is compared are given; groups, experts and weights follow from them.
template <class Argmax, class Group>
static void route(const grouped_topk_args &a, int64_t t, const float *scores, float *choice, Argmax &&argmax,
                  Group &&group_best) {
  const int64_t groups = a.num_expert_group, size = a.E / groups;
  if (a.topk_group < groups) {
    float best[kMostExperts];
    bool kept[kMostExperts] = {};
    for (int64_t g = 0; g < groups; ++g) {
      const TopTwo<float> top = group_best(choice + g * size, size);
      const bool both = a.e_score_correction_bias && size > 1;
      best[g] = comparable(both ? top.first + top.second : top.first);
    }
    choose(best, groups, a.topk_group, argmax, [&](int64_t, int64_t g) { kept[g] = true; });
    for (int64_t e = 0; e < a.E; ++e)
      if (!kept[e / size]) choice[e] = kTaken;
  }
  float chosen[kMostExperts];
  int64_t ids[kMostExperts];
  choose(choice, a.E, a.K, argmax, [&](int64_t k, int64_t e) { ids[k] = e, chosen[k] = scores[e]; });
  write(a, t, ids, chosen);
}

// Of one token whose experts the table has: scores(e) are theirs.
template <class Scores>
static void look_up(const grouped_topk_args &a, int64_t t, Scores &&scores) {
  float chosen[kMostExperts];
  int64_t ids[kMostExperts];
  for (int64_t k = 0; k < a.K; ++k) ids[k] = listed(a, t, k), chosen[k] = scores(ids[k]);
  write(a, t, ids, chosen);
}

static double score_plain(const grouped_topk_args &a, double x) {
  if (a.use_sigmoid) return 1 / (1 + std::exp(-x));
  return std::sqrt(std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))));  // this order lets NaN through
}

template <class E>
static void scores_plain(const grouped_topk_args &a, const E *x, float *scores) {
  double largest = -INFINITY, total = 0;
  for (int64_t e = 0; e < a.E; ++e) largest = std::max(largest, double(to_float(x[e])));
  for (int64_t e = 0; e < a.E; ++e) total += std::exp(to_float(x[e]) - largest);
  const bool softmax = !a.use_sigmoid && !a.use_sqrt_softplus;
  for (int64_t e = 0; e < a.E; ++e)
    scores[e] = float(softmax ? std::exp(to_float(x[e]) - largest) / total : score_plain(a, to_float(x[e])));
}

OPSWAP_REF(grouped_topk) {
  const auto argmax = [](const float *values, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i)
      if (values[i] > values[best]) best = i;
    return best;
  };
  const auto group_best = [](const float *values, int64_t n) {
    TopTwo<float> top;
    for (int64_t i = 0; i < n; ++i) top.take(values[i]);
    return top;
  };
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    float scores[kMostExperts], choice[kMostExperts];
    for (int64_t t = 0; t < a.T; ++t) {
      scores_plain(a, row<E>(a.gating_output, t), scores);
      if (a.N) {
        look_up(a, t, [&](int64_t e) { return scores[e]; });
        continue;
      }
      for (int64_t e = 0; e < a.E; ++e)
        choice[e] = comparable(a.e_score_correction_bias ? scores[e] + bias_at(a, e) : scores[e]);
      route(a, t, scores, choice, argmax, group_best);
    }
    return opswap_status{OPSWAP_OK};
  });
}

// f(v, i) of every vector of x, the last one filled up; the buffer has room for whole vectors.
template <class E, class F>
static void map_row(const E *x, int64_t n, float *out, F &&f) {
  for_lanes(
      n, [&](int64_t i) { store(out + i, f(load(x + i), i)); },
      [&](int64_t i, int64_t left) { store(out + i, f(load_tail(x + i, left, kTaken), i)); });
}

// ln(1 + e^x) to a few ulp: log(u) / (u - 1) makes up for what rounding took from u = 1 + e^-|x|.
static vf softplus(vf x) {
  const vf e = exp(-abs(x)), u = e + 1.0f, rounded = u - 1.0f;
  const vf rest = rounded == 0.0f ? e : log(u) * (e / rounded);
  return max(x, vf{}) + rest;
}

// Scores that are of one logit alone.
static vf own_score(const grouped_topk_args &a, vf x) {
  if (a.use_sigmoid) return sigmoid(x);
  vf y = softplus(x);
  for (int lane = 0; lane < kLanes; ++lane) y[lane] = __builtin_sqrtf(y[lane]);
  return y;
}

template <class E>
static void scores_of(const grouped_topk_args &a, const E *x, int64_t n, float *scores) {
  if (a.use_sigmoid || a.use_sqrt_softplus)
    return map_row(x, n, scores, [&](vf v, int64_t) { return own_score(a, v); });
  vf largest = splat(kTaken), total = {};
  map_row(x, n, scores, [&](vf v, int64_t) {
    largest = max(v, largest);  // this order leaves NaN out; it comes back through the sum
    return v;
  });
  const vf offset = splat(max_lane(largest));
  map_row(scores, n, scores, [&](vf v, int64_t) {
    const vf e = exp(v - offset);
    total += e;
    return e;
  });
  const vf scale = splat(1.0f / sum(total));
  map_row(scores, n, scores, [&](vf v, int64_t) { return v * scale; });
}

// With a table; a score of one logit alone is worked out for the experts of the table and no other.
template <class E>
static void route_listed(const grouped_topk_args &a, int64_t t, const E *x, float *scores) {
  if (!a.use_sigmoid && !a.use_sqrt_softplus) {
    scores_of(a, x, a.E, scores);
    return look_up(a, t, [&](int64_t e) { return scores[e]; });
  }
  alignas(64) float logits[kMostExperts];
  for (int64_t k = 0; k < a.K; ++k) logits[k] = to_float(x[listed(a, t, k)]);
  scores_of(a, logits, a.K, scores);
  look_up(a, t, [&, k = int64_t{0}](int64_t) mutable { return scores[k++]; });
}

static TopTwo<float> group_best_of(const float *values, int64_t n) {
  TopTwo<vf> lanes;
  for_lanes(
      n, [&](int64_t i) { lanes.take(load(values + i)); },
      [&](int64_t i, int64_t left) { lanes.take(load_tail(values + i, left, kTaken)); });
  TopTwo<float> top;
  for (int lane = 0; lane < kLanes; ++lane) top.take(lanes.first[lane]), top.take(lanes.second[lane]);
  return top;
}

OPSWAP_CPU(grouped_topk) {
  const auto argmax = [](const float *values, int64_t n) {
    return argmax_range(
               0, n,
               [&](int64_t i, int64_t left) { return left ? load_tail(values + i, left, kTaken) : load(values + i); })
        .index;
  };
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    float bias[kMostExperts] = {};  // 0 changes no score, which is 0 or more
    for (int64_t e = 0; a.e_score_correction_bias && e < a.E; ++e) bias[e] = bias_at(a, e);
    parallel_for(a.T, rows_per_task(a.E * (1 + a.K / 4)), [&](int64_t begin, int64_t end) {
      alignas(64) float scores[kMostExperts], choice[kMostExperts];
      for (int64_t t = begin; t < end; ++t) {
        const E *logits = row<E>(a.gating_output, t);
        if (a.N) {
          route_listed(a, t, logits, scores);
          continue;
        }
        scores_of(a, logits, a.E, scores);
        map_row(scores, a.E, choice, [&](vf v, int64_t i) { return comparable(v + load(bias + i)); });
        route(a, t, scores, choice, argmax, group_best_of);
      }
    });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
