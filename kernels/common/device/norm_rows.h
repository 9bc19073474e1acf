// RMS norms of rows: blocks walk over them and keep, as far as registers hold it, each row between its sum of squares
// and its use.
#pragma once

#include "common/device/add_rows.h"

namespace opswap::OPSWAP_PASS {

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

// finish(t, part, held, row, normed, reduce) for every row that is this thread's: normed(values, h, kept) norms those
// of feature h on, row(h) gives what `held` has not.
template <class P, class Source, class T, class Finish>
OPSWAP_DEVICE void norm_rows(const Source &source, const T *weight, int64_t rows, int length, float epsilon,
                             Finish &&finish) {
  OPSWAP_SHARED(Reductions, memory);
  Reducer reduce(memory);
  const P features(length);
  const PerFeature<P, T> gain(features, weight, 1, features_memory<P, T>());
  sm90::dependency_wait();
  sm90::dependency_trigger();
  each_row<P>(rows, length, [&](int64_t t, const P &part) {
    auto x = source.hold(part, t);
    const auto row = [&](int h) { return source.again(part, t, h); };
    const RowScale scale = inverse_rms(part, x, row, epsilon, reduce);
    const auto normed = [&](const typename P::Floats &v, int h, bool kept) { return scaled(v, scale, gain(h, kept)); };
    finish(t, part, x, row, normed, reduce);
  });
}

// The normed rows, rounded to their type.
template <class P, class Source, class T>
OPSWAP_DEVICE void store_normed_rows(const Rows<T> &out, const Source &source, const T *weight, int64_t rows,
                                     int length, float epsilon) {
  norm_rows<P>(source, weight, rows, length, epsilon,
               [&](int64_t t, const P &part, auto &x, const auto &row, const auto &normed, Reducer &) {
                 part.each(x, row, [&](int h, bool kept, const typename P::Floats &v) {
                   part.store(out[t], h, from_float<T>(normed(v, h, kept)));
                 });
               });
}

}  // namespace opswap::OPSWAP_PASS
