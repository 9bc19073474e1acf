// Activations, and the kernels' loops over rows of them: a thread takes the vectors of one column in several rows.
#pragma once

#include "common/device/access.h"
#include "common/device/rows.h"
#include "common/sm90/approx.h"

namespace opswap::OPSWAP_PASS {

// 1 / (1 + e^-x) by the special function unit: off by at most 2^-21 of itself and, where x < 0, by |x| 2^-23 more;
// below the normal range it is 0. e^-x is off by 2^-22 + |x| 2^-23 of itself, which counts as far as it does beside
// the 1.
constexpr float kLog2E = 1.44269504f;
OPSWAP_DEVICE float sigmoid_of_log2(float minus_x) {
  return sm90::reciprocal_approx(1.0f + sm90::exp2_approx(minus_x));
}
OPSWAP_DEVICE float sigmoid(float x) { return sigmoid_of_log2(x * -kLog2E); }

// -inf gives NaN in all of them, as in torch.
struct Silu {
  OPSWAP_DEVICE float operator()(float x) const { return x * sigmoid(x); }
};
// By formula 7.1.26 of Abramowitz and Stegun's Handbook of Mathematical Functions (1964), off by at most 2^-21 |x|.
struct Gelu {
  OPSWAP_DEVICE float operator()(float x) const {
    const float z = fabsf(x) * 0.70710678f, t = sm90::reciprocal_approx(fmaf(0.3275911f, z, 1.0f));
    float p = fmaf(1.061405429f, t, -1.453152027f);
    p = fmaf(p, t, 1.421413741f), p = fmaf(p, t, -0.284496736f), p = fmaf(p, t, 0.254829592f);
    const float beyond = 0.5f * p * t * sm90::exp2_approx(z * z * -kLog2E);  // erfc(z) / 2
    return x * (x < 0 ? beyond : 1.0f - beyond);
  }
};
// 0.5 (1 + tanh z) = 1 / (1 + e^-2z): one exponential, and no cancellation for negative x.
struct GeluTanh {
  OPSWAP_DEVICE float operator()(float x) const {
    constexpr float kSlope = -2.0f * 0.79788456f * kLog2E, kCubic = kSlope * 0.044715f;
    return x * sigmoid_of_log2(x * fmaf(kCubic, x * x, kSlope));
  }
};

constexpr int kTileThreads = 256, kTileBlocksPerSm = 4;

// Rows of which a thread loads before it uses the first: one where elements go one by one.
template <class P>
constexpr int rows_at_once(int loads) {
  return P::kWide ? kLoadsAtOnce / loads : 1;
}

// out = what is made of row(part, t, h), which takes `kLoads` of a vector's width, for the vectors of all rows. Blocks
// tile columns along x and rows along y.
template <class P, int kLoads, class T, class Row>
OPSWAP_DEVICE void map_rows(const Rows<T> &out, int64_t rows, int length, Row &&row) {
  constexpr int kRows = rows_at_once<P>(kLoads);
  const int64_t high = blockDim.y, down = gridDim.y * high * kRows;
  sm90::dependency_wait();
  sm90::dependency_trigger();
  for (int64_t h = int64_t(blockIdx.x * blockDim.x + threadIdx.x) * P::N; h < length;
       h += int64_t(gridDim.x * blockDim.x) * P::N)
    for (int64_t t = blockIdx.y * high * kRows + threadIdx.y; t < rows; t += down)
      [&]<int... k>(std::integer_sequence<int, k...>) {
        const P part[] = {P(length, t + k * high < rows)...};
        const decltype(row(part[0], t, 0)) loaded[] = {row(part[k], t + k * high, int(h))...};
        const auto finish = [&](int64_t to, const P &of, const auto &x) {
          if (of.exists()) of.store(out[to], int(h), from_float<T>(to_float(x)));
        };
        (finish(t + k * high, part[k], loaded[k]), ...);
      }(std::make_integer_sequence<int, kRows>{});
}

template <class F, int N>
OPSWAP_DEVICE Vec<float, N> activated(Vec<float, N> x, const F &f) {
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = f(x[i]);
  return x;
}

// out = f(input)
template <class P, class T, class F>
OPSWAP_DEVICE void activate_rows(const Rows<T> &out, const Rows<const T> &input, int64_t rows, int length, F f) {
  map_rows<P, 1>(out, rows, length, [&](const P &part, int64_t t, int h) {
    return later(part.load(input[t], h), [f](const auto &x) { return activated(to_float(x), f); });
  });
}

// f(gate) * up of rows [gate | up].
template <class P, class T, class F>
OPSWAP_DEVICE auto gated(const P &part, const T *row, int h, F f) {
  return later(Two<T, P::N>{part.load(row, h), part.load(row + part.length, h)}, [f](const auto &of) {
    typename P::Floats x = activated(to_float(of.first), f), up = to_float(of.second);
#pragma unroll
    for (int i = 0; i < P::N; ++i) x[i] *= up[i];
    return x;
  });
}
template <class P, class T, class F>
OPSWAP_DEVICE void activate_gated_rows(const Rows<T> &out, const Rows<const T> &input, int64_t rows, int length, F f) {
  map_rows<P, 2>(out, rows, length, [&](const P &part, int64_t t, int h) { return gated(part, input[t], h, f); });
}

// For rows that take `loads` of each vector's width: as many blocks as the SMs hold at once, or fewer.
template <class P>
Geometry tile_geometry(const opswap_exec &exec, int64_t rows, int64_t length, int loads) {
  using device::kWarp, device::ceil_div;
  constexpr int64_t kMostBlocks = 65535;
  const int64_t vectors = std::max<int64_t>(ceil_div<int64_t>(length, P::N), 1);
  const int64_t wide = vectors < kWarp ? device::power_of_two(vectors)
                                       : std::min<int64_t>(kTileThreads, device::round_up<int64_t>(vectors, kWarp));
  const int64_t high = kTileThreads / wide, blocks = device::sms_of(exec) * kTileBlocksPerSm;
  const int64_t across = length ? std::min(ceil_div(vectors, wide), blocks) : 0;
  const int64_t most = std::clamp<int64_t>(blocks / std::max<int64_t>(across, 1), 1, kMostBlocks);
  const int64_t down = std::min(ceil_div<int64_t>(rows, high * rows_at_once<P>(loads)), most);
  return {.grid = {across, down}, .block = {wide, high}, .pdl = true};
}

}  // namespace opswap::OPSWAP_PASS
