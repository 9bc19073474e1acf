// Heads as FP8 codes in a paged cache, divided by a scale that is given or by one that is made for each token and head.
#pragma once

#include <limits>

#include "common/device/fp8_rows.h"
#include "common/device/paged.h"

namespace opswap::OPSWAP_PASS {

// The largest magnitude of a head whose part of each of its blockDim.x lanes, a power of two, has this one. All lanes
// of the warp call it.
OPSWAP_DEVICE float over_lanes(float most) {
  for (int distance = int(blockDim.x) / 2; distance > 0; distance /= 2)
    most = Max{}(most, __shfl_xor_sync(kAllLanes, most, distance));
  return most;
}

// What a head is divided by. Elements that a given scale takes beyond the largest code are brought there first, so that
// no quotient needs a division of its own.
class HeadScale {
 public:
  OPSWAP_DEVICE static HeadScale made(float most) { return HeadScale(scale_of(most, kActivationFloor), kEverything); }
  OPSWAP_DEVICE static HeadScale given(float scale) {
    const bool usual = scale > 0x1p-60f && scale < 0x1p60f;  // else each is divided
    return HeadScale(scale, usual ? kLargestCode * scale : kEverything);
  }

  OPSWAP_DEVICE float scale() const { return scale_; }

  template <int N>
  OPSWAP_DEVICE Vec<e4m3, N> codes(Vec<float, N> x) const {
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (fabsf(x[i]) > most_) x[i] = copysignf(most_, x[i]);
    return codes_of(x, by_);
  }

 private:
  static constexpr float kEverything = std::numeric_limits<float>::infinity();
  OPSWAP_DEVICE HeadScale(float scale, float most) : by_(scale) {
    scale_ = scale, most_ = most;  // not above: nvcc gives initialisers to the host's compiler as well
  }
  Divisor by_;
  float scale_, most_;
};

struct Fp8Cache {
  e4m3 *codes;  // [NB, KH, BS, features]
  CellStrides code_strides;
  float *scales;  // [NB, KH, BS, 1], what each head was divided by; or null
  CellStrides scale_strides;
  const float *given;  // [1] or [KH]; or null: made for each head where `scales` keep it, else 1
  bool given_per_head;

  OPSWAP_DEVICE float given_of(int h) const { return given ? load<1>(given + (given_per_head ? h : 0))[0] : 1.0f; }

  // `largest`: magnitude of a lane's part. All lanes of the warp call it.
  OPSWAP_DEVICE HeadScale scale_of(float is_given, float largest) const {
    return scales && !given ? HeadScale::made(over_lanes(largest)) : HeadScale::given(is_given);
  }
  OPSWAP_DEVICE void keep(const Cell &cell, int h, const HeadScale &by) const {
    if (scales && threadIdx.x == 0) store(scales + scale_strides.at(cell, h), Vec<float, 1>{by.scale()});
  }
  OPSWAP_DEVICE e4m3 *head(const Cell &cell, int h) const { return codes + code_strides.at(cell, h); }

  template <class T, int N, int Runs>
  OPSWAP_DEVICE void store_held(const HeldHead<T, N, Runs> &x, int features, const Cell &cell, int h,
                                const HeadScale &by) const {
    keep(cell, h, by);
    e4m3 *to = head(cell, h);
    x.each(features, [&](int i, const auto &run) { store(to + i, by.codes(to_float(run))); });
  }
};

inline Fp8Cache fp8_cache(const Tensor &codes, const Tensor &scales, const Tensor &given) {
  return {.codes = codes.as<e4m3>(),
          .code_strides = cell_strides(codes),
          .scales = scales ? scales.as<float>() : nullptr,
          .scale_strides = scales ? cell_strides(scales) : CellStrides{},
          .given = given && given.shape[0] ? given.as<float>() : nullptr,
          .given_per_head = given && given.shape[0] > 1};
}

}  // namespace opswap::OPSWAP_PASS
