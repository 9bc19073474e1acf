// RMS norms of rows: a block walks over them and keeps, as far as its registers hold it, each row between its sum of
// squares and its use.
#pragma once

#include "common/device/add_rows.h"

namespace opswap {

// Rows that are normed as they lie.
template <class T>
struct InputRows {
  Rows<const T> input;  // [rows, length]

  template <class P>
  OPSWAP_DEVICE typename P::Held hold(const P &part, int64_t t) const {
    return part.hold([&](int h) { return again(part, t, h); });
  }
  template <class P>
  OPSWAP_DEVICE Vec<T, P::N> again(const P &part, int64_t t, int h) const {
    return part.load(input[t], h);
  }
};

// Rows that are first added to the residual, which keeps the sum.
template <class T>
struct AddedRows {
  Rows<T> residual;     // [rows, length]
  Rows<const T> input;  // [rows, length]

  template <class P>
  OPSWAP_DEVICE typename P::Held hold(const P &part, int64_t t) const {
    return add_row(part, residual[t], input[t]);
  }
  template <class P>
  OPSWAP_DEVICE Vec<T, P::N> again(const P &part, int64_t t, int h) const {
    return part.load(residual[t], h);
  }
};

// finish(t, part, held, row, normed, reduce) for every row that is this block's: normed(values, h, k) norms those of
// feature h on, row(h) gives what `held` has not.
template <class P, class Source, class T, class Finish>
OPSWAP_DEVICE void norm_rows(const Source &source, const T *weight, int64_t rows, int length, float epsilon,
                             Finish &&finish) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P part(length);
  const PerFeature<P, T> gain(part, weight, 1, features_memory<P, T>());
  sm90::dependency_wait();
  sm90::dependency_trigger();
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    auto x = source.hold(part, t);
    const auto row = [&](int h) { return source.again(part, t, h); };
    const RowScale scale = inverse_rms(part, x, row, epsilon, reduce);
    const auto normed = [&](const typename P::Floats &v, int h, int k) { return scaled(v, scale, gain(h, k)); };
    finish(t, part, x, row, normed, reduce);
  }
}

// The normed rows, rounded to their type.
template <class P, class Source, class T>
OPSWAP_DEVICE void store_normed_rows(const Rows<T> &out, const Source &source, const T *weight, int64_t rows,
                                     int length, float epsilon) {
  norm_rows<P>(source, weight, rows, length, epsilon,
               [&](int64_t t, const P &part, const auto &x, const auto &row, const auto &normed, Reducer &) {
                 part.each(x, row, [&](int h, int k, const typename P::Floats &v) {
                   part.store(out[t], h, from_float<T>(normed(v, h, k)));
                 });
               });
}

}  // namespace opswap
