// Activations, and the kernels' loops over rows of them: a thread takes one vector of a row.
#pragma once

#include "common/device/access.h"
#include "common/device/rows.h"

namespace opswap {

// -inf gives NaN in all of them, as in torch.
OPSWAP_DEVICE float silu(float x) { return x / (1.0f + expf(-x)); }
OPSWAP_DEVICE float gelu(float x) { return 0.5f * x * erfcf(x * -0.70710678f); }
// 0.5 (1 + tanh z) = 1 / (1 + e^-2z): one exponential, and no cancellation for negative x.
OPSWAP_DEVICE float gelu_tanh(float x) {
  const float z = 0.79788456f * (x + 0.044715f * x * x * x);
  return x / (1.0f + expf(-2.0f * z));
}

constexpr int kTileThreads = 256;

// body(row, h, part) for the vectors of all rows. Blocks tile columns along x and rows along y.
template <class P, class Body>
OPSWAP_DEVICE void each_vector(int64_t rows, int length, Body &&body) {
  const P part(length);
  sm90::dependency_wait();
  sm90::dependency_trigger();
  const int64_t h = int64_t(blockIdx.x * blockDim.x + threadIdx.x) * P::N;
  if (h >= length) return;
  for (int64_t t = int64_t(blockIdx.y) * blockDim.y + threadIdx.y; t < rows; t += int64_t(gridDim.y) * blockDim.y)
    body(t, int(h), part);
}

// out = f(input)
template <class P, class T, class F>
OPSWAP_DEVICE void activate_rows(Rows<T> out, Rows<const T> input, int64_t rows, int length, F &&f) {
  each_vector<P>(rows, length, [&](int64_t t, int h, const P &part) {
    typename P::Floats x = to_float(part.load(input[t], h));
#pragma unroll
    for (int i = 0; i < P::N; ++i) x[i] = f(x[i]);
    part.store(out[t], h, from_float<T>(x));
  });
}

// f(gate) * up of rows [gate | up].
template <class P, class T, class F>
OPSWAP_DEVICE typename P::Floats gated(const P &part, const T *row, int h, F &&f) {
  typename P::Floats x = to_float(part.load(row, h));
  const typename P::Floats up = to_float(part.load(row + part.length, h));
#pragma unroll
  for (int i = 0; i < P::N; ++i) x[i] = f(x[i]) * up[i];
  return x;
}
template <class P, class T, class F>
OPSWAP_DEVICE void activate_gated_rows(Rows<T> out, Rows<const T> input, int64_t rows, int length, F &&f) {
  each_vector<P>(rows, length, [&](int64_t t, int h, const P &part) {
    part.store(out[t], h, from_float<T>(gated(part, input[t], h, f)));
  });
}

template <class P>
Geometry tile_geometry(int64_t rows, int64_t length) {
  constexpr int64_t kMostBlocks = 65535;
  const int64_t vectors = std::max<int64_t>(device::ceil_div<int64_t>(length, P::N), 1);
  const int64_t wide = std::min<int64_t>(kTileThreads, device::round_up<int64_t>(vectors, device::kWarp));
  const int64_t high = kTileThreads / wide;
  const int64_t down = std::min(device::ceil_div(rows, high), kMostBlocks);
  return {.grid = {length ? device::ceil_div(vectors, wide) : 0, down}, .block = {wide, high}, .pdl = true};
}

}  // namespace opswap
