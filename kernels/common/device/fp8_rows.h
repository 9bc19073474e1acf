// Rows of FP8 codes with their scales, which a row kernel ends in: scale = max(amax, floor) / 448 of each group,
// code = e4m3(x / scale) by true division. A NaN in a group makes its scale and codes NaN.
#pragma once

#include "common/device/divisor.h"
#include "common/device/rows.h"

namespace opswap::OPSWAP_PASS {

constexpr float kLargestCode = 448.0f;
constexpr float kActivationFloor = 1e-4f;  // of an activation's amax
constexpr int kGroup = 128;

enum class Scaling { kGroups, kRow, kGiven };  // a scale per 128 features, per row, or one that is only read

// Where the codes and scales of a call go; (row, column group) of the scales may lie either way round.
struct Fp8Rows {
  Rows<e4m3> out;
  float *scale;
  int64_t scale_row, scale_column;
  float floor;
};

template <class Args>
Fp8Rows fp8_rows(const Args &a, float floor = kActivationFloor) {
  const int64_t stride = a.scale.stride[0];
  return {rows_of<e4m3>(a.out), a.scale.template as<float>(), a.mn_major ? 1 : stride, a.mn_major ? stride : 1, floor};
}

template <int N>
OPSWAP_DEVICE float amax(float most, const Vec<float, N> &x) {
  unsigned bits = __float_as_uint(most);  // in which NaN is above infinity, in two instructions for an element
#pragma unroll
  for (int i = 0; i < N; ++i) bits = std::max(bits, __float_as_uint(x[i]) & 0x7fffffffu);
  return __uint_as_float(bits);
}

OPSWAP_DEVICE float scale_of(float most, float floor) { return __fdiv_rn(Max{}(most, floor), kLargestCode); }

template <int N>
OPSWAP_DEVICE Vec<e4m3, N> codes_of(const Vec<float, N> &x, const Divisor &by, bool given = false) {
  return from_float<e4m3>(by.quotients(x, given));
}

// Quantises row t; row(h) gives the values that are not held. Groups need a row of at least kGroup / N threads.
template <Scaling kScaling, class P, class Row>
OPSWAP_DEVICE void quantise_row(const Fp8Rows &to, int64_t t, const P &part, typename P::Held &x, Row &&row,
                                Reducer &reduce) {
  using Floats = typename P::Floats;
  float *scales = to.scale + t * to.scale_row;
  if constexpr (kScaling == Scaling::kGroups) {
    constexpr int kLanes = kGroup / P::N;
    part.each(x, row, [&](int h, bool, const Floats &v) {
      const float scale = scale_of(warp_reduce<kLanes>(amax(0.0f, v), Max{}), to.floor);
      if (h % kGroup == 0 && h < part.end) store(scales + h / kGroup * to.scale_column, Vec<float, 1>{scale});
      part.store(to.out[t], h, codes_of(v, Divisor(scale)));
    });
  } else {
    float scale;
    if constexpr (kScaling == Scaling::kRow) {
      float most = 0;
      part.each(x, row, [&](int, bool, const Floats &v) { most = amax(most, v); });
      scale = scale_of(reduce(most, Max{}), to.floor);
      if (threadIdx.x == 0 && part.exists()) store(scales, Vec<float, 1>{scale});
    } else {
      scale = load<1>(to.scale)[0];
    }
    const Divisor by(scale);
    part.each(x, row, [&](int h, bool, const Floats &v) {
      part.store(to.out[t], h, codes_of(v, by, kScaling == Scaling::kGiven));
    });
  }
}

// As row_geometry, with enough threads for the groups.
template <class P, Scaling kScaling, int kMostThreads = kFullRowThreads>
Geometry fp8_geometry(const opswap_exec &exec, int64_t rows, int64_t length, size_t kept = 0) {
  return row_geometry<P, kMostThreads>(exec, rows, length, kept, kScaling == Scaling::kGroups ? kGroup / P::N : 1);
}

// body(Part type, Scaling constant) for the accesses and the scaling of a call.
template <class T, class Body>
opswap_status with_scaling(bool groups, bool given, int64_t length, std::initializer_list<const Tensor *> tensors,
                           Body &&body) {
  return with_part<T>(length, tensors, [&]<class P>() {
    if (given) return body.template operator()<P, Scaling::kGiven>();
    return groups ? body.template operator()<P, Scaling::kGroups>() : body.template operator()<P, Scaling::kRow>();
  });
}

}  // namespace opswap::OPSWAP_PASS
