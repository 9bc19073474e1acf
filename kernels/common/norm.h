// RMS norm of one row. float32 sums its squares; a row whose squares leave the range of float32, because it is large or
// because it is tiny and so is epsilon, is normed in double.
#pragma once

#include <cmath>

#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

template <class E>
inline double inverse_rms_plain(const E *x, int64_t n, double epsilon) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += double(to_float(x[i])) * to_float(x[i]);
  return 1 / std::sqrt(squares / double(n) + epsilon);
}

// One element, also of an output that is streamed.
template <class O>
inline void put(O *out, float x) {
  if constexpr (requires { out->value; })
    out->value = from_float<decltype(out->value)>(x);
  else
    *out = from_float<O>(x);
}

// In double, one element at a time; a `weight` that is null stands for ones.
template <class O, class E>
inline void rms_norm_row_plain(O *out, const E *x, const E *weight, int64_t n, double epsilon) {
  const double scale = inverse_rms_plain(x, n, epsilon);
  for (int64_t i = 0; i < n; ++i) put(out + i, float(to_float(x[i]) * scale * (weight ? to_float(weight[i]) : 1.0f)));
}

// Below it, squares that float32 has flushed or rounded may count.
constexpr float kLeastMeanSquare = 0x1p-100f;
inline bool in_range(float mean_square) { return mean_square >= kLeastMeanSquare && mean_square <= __FLT_MAX__; }

template <class O, class E>
[[gnu::cold, gnu::noinline]] void rms_norm_row_out_of_range(O *out, const E *x, const E *weight, int64_t n,
                                                            double epsilon) {
  rms_norm_row_plain(out, x, weight, n, epsilon);
}

// `squares` is what float32 made of their sum.
template <class O, class E>
inline void rms_norm_row(O *out, const E *x, const E *weight, int64_t n, float squares, double epsilon) {
  const float mean_square = squares / float(n) + float(epsilon);
  if (!in_range(mean_square)) [[unlikely]]
    return rms_norm_row_out_of_range(out, x, weight, n, epsilon);
  scale_by_weight(out, x, weight, n, 1.0f / __builtin_sqrtf(mean_square));
}
template <class O, class E>
inline void rms_norm_row(O *out, const E *x, const E *weight, int64_t n, double epsilon) {
  rms_norm_row(out, x, weight, n, sum_of_squares(x, n), epsilon);
}

}  // namespace opswap::OPSWAP_ISA
