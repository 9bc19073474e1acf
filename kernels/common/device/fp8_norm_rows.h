// RMS norms of rows that end in FP8 codes: held rows are normed in place, for their amax and for their codes.
#pragma once

#include "common/device/fp8_rows.h"
#include "common/device/norm_rows.h"

namespace opswap::OPSWAP_PASS {

template <Scaling kScaling, class P, class Source, class T>
OPSWAP_DEVICE void quantise_normed_rows(const Fp8Rows &out, const Source &source, const T *weight, int64_t rows,
                                        int length, float epsilon) {
  norm_rows<P>(source, weight, rows, length, epsilon,
               [&](int64_t t, const P &part, auto &x, const auto &row, const auto &normed, Reducer &reduce) {
                 part.held(x, [&](int h, typename P::Floats &v) { v = normed(v, h, x.begin == 0); });
                 const auto rest = [&](int h) {
                   return later(row(h), [&, h](const auto &v) { return normed(to_float(v), h, h < part.piece()); });
                 };
                 quantise_row<kScaling>(out, t, part, x, rest, reduce);
               });
}

}  // namespace opswap::OPSWAP_PASS
