// attention_merge on a CPU: states of attention put together by their log-sum-exp. The sums of a row stay in registers
// over all states.
#include "attention_merge.gen.h"

#include <cmath>
#include <limits>

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

static constexpr float kEmpty = -std::numeric_limits<float>::infinity();

// The states of one head of one token: those of the stack, then the other one.
template <class P>
struct StatesOf {
  const attention_merge_args &a;
  int64_t t, h;

  int64_t count() const { return a.N + (a.other ? 1 : 0); }
  float lse(int64_t n) const {
    return n < a.N ? a.states_lse.as<float>()[at(a.states_lse, n, t, h)]
                   : row<float>(a.other_lse, t)[head(a.other_lse)];
  }
  const P *values(int64_t n) const {
    return n < a.N ? a.states.as<P>() + at(a.states, n, t, h) : row<P>(a.other, t) + head(a.other);
  }
  static int64_t at(const Tensor &x, int64_t n, int64_t t, int64_t h) {
    return n * x.stride[0] + t * x.stride[1] + h * x.stride[2];
  }
  int64_t head(const Tensor &x) const { return h * x.stride[1]; }
};

// The largest lse; NaN is left to the weights, which it makes NaN.
template <class P>
static float largest(const StatesOf<P> &states) {
  float most = kEmpty;
  for (int64_t n = 0; n < states.count(); ++n) most = states.lse(n) > most ? states.lse(n) : most;
  return most;
}

static void set_lse(const attention_merge_args &a, int64_t t, int64_t h, float value) {
  if (a.lse) row<float>(a.lse, t)[h * a.lse.stride[1]] = value;
}

OPSWAP_REF(attention_merge) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.part_dtype, [&]<class P>(P) {
      for (int64_t t = 0; t < a.T; ++t)
        for (int64_t h = 0; h < a.QH; ++h) {
          const StatesOf<P> states{a, t, h};
          const double most = largest(states);
          E *out = row<E>(a.out, t) + h * a.out.stride[1];
          double total = 0;
          for (int64_t n = 0; n < states.count(); ++n)
            if (states.lse(n) != kEmpty) total += std::exp(states.lse(n) - most);
          for (int64_t d = 0; d < a.D; ++d) {
            double sum = 0;
            for (int64_t n = 0; n < states.count(); ++n)
              if (states.lse(n) != kEmpty) sum += std::exp(states.lse(n) - most) * to_float(states.values(n)[d]);
            out[d] = from_float<E>(float(total == 0 ? 0 : sum / total));
          }
          set_lse(a, t, h, total == 0 ? kEmpty : float(most + std::log(total)));
        }
      return opswap_status{OPSWAP_OK};
    });
  });
}

// Features [d, d + kWide vectors) of a row; weights are shares of 1, and 0 of a state that is not read.
template <class P, class E, int kWide>
static void merge_wide(const StatesOf<P> &states, const float *weights, E *out, int64_t d) {
  vf sums[kWide] = {};
  for (int64_t n = 0; n < states.count(); ++n) {
    if (weights[n] == 0) continue;
    const vf weight = splat(weights[n]);
    const P *x = states.values(n) + d;
    for (int i = 0; i < kWide; ++i) sums[i] += weight * load(x + i * kLanes);
  }
  for (int i = 0; i < kWide; ++i) store(out + d + i * kLanes, sums[i]);
}

template <class P, class E>
static void merge_tail(const StatesOf<P> &states, const float *weights, E *out, int64_t d, int64_t left) {
  vf sum = {};
  for (int64_t n = 0; n < states.count(); ++n)
    if (weights[n] != 0) sum += splat(weights[n]) * load_tail(states.values(n) + d, left);
  store_tail(out + d, sum, left);
}

// Makes each state's share of the row and writes its lse.
template <class P>
static void share(const StatesOf<P> &states, float *weights) {
  const float most = largest(states);
  float total = 0;
  for (int64_t n = 0; n < states.count(); ++n) {
    weights[n] = states.lse(n) == kEmpty ? 0.0f : std::exp(states.lse(n) - most);
    total += weights[n];
  }
  for (int64_t n = 0; n < states.count() && total != 0; ++n) weights[n] /= total;
  set_lse(states.a, states.t, states.h, total == 0 ? kEmpty : most + std::log(total));
}

template <class P, class E>
static void merge_row(const StatesOf<P> &states, float *weights, E *out) {
  share(states, weights);
  int64_t d = 0;
  for (; d + 8 * kLanes <= states.a.D; d += 8 * kLanes) merge_wide<P, E, 8>(states, weights, out, d);
  for (; d + kLanes <= states.a.D; d += kLanes) merge_wide<P, E, 1>(states, weights, out, d);
  if (d < states.a.D) merge_tail(states, weights, out, d, states.a.D - d);
}

OPSWAP_CPU(attention_merge) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    return with_float_type(a.part_dtype, [&]<class P>(P) {
      return parallel_try(a.T * a.QH, rows_per_task(a.D * (a.N + 1)), [&](int64_t begin, int64_t end) {
        float *weights = static_cast<float *>(scratch(0, size_t(a.N + 1) * sizeof(float)));
        if (!weights) return false;
        for (int64_t r = begin; r < end; ++r) {
          const StatesOf<P> states{a, r / a.QH, r % a.QH};
          merge_row(states, weights, row<E>(a.out, states.t) + states.h * a.out.stride[1]);
        }
        return true;
      });
    });
  });
}

}  // namespace opswap::OPSWAP_ISA
