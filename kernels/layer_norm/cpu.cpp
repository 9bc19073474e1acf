// layer_norm on a CPU: layer norm of each row. Rows that float32 cannot sum are normed in float64.
#include "layer_norm.gen.h"

#include <cmath>

#include "common/norm.h"
#include "common/op.h"
#include "common/stream.h"

namespace opswap::OPSWAP_ISA {

template <class O, class E>
static void norm_row_plain(O *out, const E *x, const E *weight, const E *bias, int64_t n, double epsilon) {
  double sum = 0, squares = 0;
  for (int64_t h = 0; h < n; ++h) sum += to_float(x[h]);
  const double mean = sum / double(n);
  for (int64_t h = 0; h < n; ++h) squares += (to_float(x[h]) - mean) * (to_float(x[h]) - mean);
  const double scale = 1 / std::sqrt(squares / double(n) + epsilon);
  for (int64_t h = 0; h < n; ++h) {
    const double scaled = (to_float(x[h]) - mean) * scale * to_float(weight[h]);
    put(out + h, float(scaled + (bias ? to_float(bias[h]) : 0.0f)));
  }
}

OPSWAP_REF(layer_norm) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    const E *bias = a.bias ? a.bias.as<E>() : nullptr;
    for (int64_t t = 0; t < a.T; ++t)
      norm_row_plain(row<E>(a.out, t), row<E>(a.input, t), a.weight.as<E>(), bias, a.H, a.epsilon);
    return OPSWAP_OK;
  });
}

template <class E>
static float row_sum(const E *x, int64_t n) {
  vf sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int k = 0; k < 2; ++k) sums[k] += load(x + i + k * kLanes);
  for (; i + kLanes <= n; i += kLanes) sums[0] += load(x + i);
  if (i < n) sums[1] += load_tail(x + i, n - i);
  return sum(sums[0] + sums[1]);
}

// What a second pass over a row in the L1 cache finds around its rounded mean, where a large mean cancels nothing.
struct Deviations {
  vf sum = {}, squares = {};
  void add(vf v) {
    sum += v;
    squares += v * v;
  }
};

template <class E>
static Deviations deviations(const E *x, int64_t n, float mean) {
  Deviations d;
  for_lanes(
      n, [&](int64_t i) { d.add(load(x + i) - mean); },
      [&](int64_t i, int64_t left) { d.add(load_tail(x + i, left, mean) - mean); });
  return d;
}

// A row that float32 cannot norm: its sums leave the range, or hardly anything is left of its variance.
template <class O, class E>
[[gnu::cold, gnu::noinline]] static void norm_row_out_of_range(O *out, const E *x, const E *weight, const E *bias,
                                                               int64_t n, double epsilon) {
  norm_row_plain(out, x, weight, bias, n, epsilon);
}

template <class O, class E>
static void norm_row(O *out, const E *x, const E *weight, const E *bias, int64_t n, double epsilon) {
  const float mean = row_sum(x, n) / float(n);
  const Deviations d = deviations(x, n, mean);
  const float rest = sum(d.sum) / float(n);  // what the mean lost by rounding
  const float squares = sum(d.squares), variance = squares - rest * rest * float(n);
  const float mean_square = variance / float(n) + float(epsilon);
  if (!in_range(mean_square) || !(variance >= 0.5f * squares)) [[unlikely]]
    return norm_row_out_of_range(out, x, weight, bias, n, epsilon);
  const float scale = 1.0f / __builtin_sqrtf(mean_square);
  for_lanes(
      n,
      [&](int64_t i) {
        store(out + i, (load(x + i) - mean - rest) * scale * load(weight + i) + (bias ? load(bias + i) : vf{}));
      },
      [&](int64_t i, int64_t left) {
        const vf scaled = (load_tail(x + i, left) - mean - rest) * scale * load_tail(weight + i, left);
        store_tail(out + i, scaled + (bias ? load_tail(bias + i, left) : vf{}), left);
      });
}

OPSWAP_CPU(layer_norm) {
  return with_vector_type(a.scalar_dtype, [&]<class E>(E) {
    const E *bias = a.bias ? a.bias.as<E>() : nullptr;
    for_output_rows<E>(a.out, a.T, rows_per_task(a.H), [&](auto *out, int64_t t) {
      norm_row(out, row<E>(a.input, t), a.weight.as<E>(), bias, a.H, a.epsilon);
    });
    return OPSWAP_OK;
  });
}

}  // namespace opswap::OPSWAP_ISA
