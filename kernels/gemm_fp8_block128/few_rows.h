// Few rows: the codes are the traffic. Each row of weights is decoded once, in registers, against all rows of the
// input.
#pragma once

#include "common/lanes.h"
#include "plan.h"

namespace opswap::OPSWAP_ISA {

constexpr int few_rows(int m) { return m == 1 ? 16 : m == 2 ? 8 : m <= 4 ? 4 : 2; }  // sums for a transposition
constexpr int few_at_once(int m) { return m <= 2 ? 1 : 2; }  // rows of weights that share the loads of the input

// sums[m * stride + r] = sum over the blocks b of scale[b * M + m] * (x[m] . w[r] in block b), for R rows of weights.
template <class Math, int M, int R>
inline void few_dots(vf *sums, int stride, const uint32_t *x, int64_t x_words, const e4m3 *w, int64_t w_stride,
                     int64_t k, const float *scale) {
  constexpr int V = kBlockVectors<Math>;
  vf total[R][M] = {};
  for (int64_t i = 0; i < k; i += kBlock, x += V * kLanes, scale += M) {
    vu words[R][V];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) decode_block<Math>(words[r], w + r * w_stride + i, k - i);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      vf part[R] = {};
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        vu lanes;
        std::memcpy(&lanes, x + m * x_words + v * kLanes, sizeof lanes);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) part[r] = Math::madd(part[r], lanes, words[r][v]);
      }
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) total[r][m] += part[r] * splat(scale[m]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) sums[m * stride + r] = total[r][m];
}

// Outputs [n, n + G) of all rows, into out[m * kFewOutputs].
template <class Math, int M, int G, int R>
inline void few_group(float *out, const gemm_fp8_block128_args &a, const uint32_t *x, int64_t n, const float *scale) {
  constexpr int kVectors = (M * G + kLanes - 1) / kLanes * kLanes;
  vf sums[kVectors] = {};
  const int64_t words = padded(a.K) / Math::kPerWord;
  for (int r = 0; r < G; r += R)
    few_dots<Math, M, R>(sums + r, G, x, words, row<e4m3>(a.weight, n + r), a.weight.stride[0], a.K, scale);
  float part[kVectors];
  for (int g = 0; g < kVectors; g += kLanes) store(part + g, sum_each(sums + g));
  for (int m = 0; m < M; ++m) std::memcpy(out + m * kFewOutputs, part + m * G, G * sizeof(float));
}

// scale[b * M + m] for the rows of weights in block row `block`.
inline void few_scales(float *scale, const gemm_fp8_block128_args &a, int64_t block) {
  const float *weight = row<float>(a.weight_scale, block);
  for (int64_t b = 0; b < a.B1; ++b)
    for (int64_t m = 0; m < a.M; ++m) *scale++ = weight[b] * input_scale_at(a, m, b);
}

template <class E>
inline void few_write(const gemm_fp8_block128_args &a, const float *sums, int64_t n0, int64_t count) {
  const E *bias = a.bias ? a.bias.as<E>() + n0 : nullptr;
  for (int64_t m = 0; m < a.M; ++m, sums += kFewOutputs) {
    E *out = row<E>(a.out, m) + n0;
    for_lanes(
        count, [&](int64_t i) { store(out + i, bias ? load(sums + i) + load(bias + i) : load(sums + i)); },
        [&](int64_t i, int64_t left) {
          const vf sum = load_tail(sums + i, left);
          store_tail(out + i, bias ? sum + load_tail(bias + i, left) : sum, left);
        });
  }
}

template <class Math, int M>
inline opswap_status few_blocks(const gemm_fp8_block128_args &a, const uint32_t *x, int64_t grain) {
  constexpr int G = few_rows(M), R = few_at_once(M);
  const int64_t tasks = (a.N + kFewOutputs - 1) / kFewOutputs;
  return parallel_try(tasks, grain, [&](int64_t begin, int64_t end) {
    float *scale = static_cast<float *>(scratch(1, size_t(a.B1 * M + 1) * sizeof(float)));
    if (!scale) return false;
    for (int64_t n0 = begin * kFewOutputs; n0 < end * kFewOutputs && n0 < a.N; n0 += kFewOutputs) {
      const int64_t count = a.N - n0 < kFewOutputs ? a.N - n0 : kFewOutputs;
      float sums[M * kFewOutputs];
      few_scales(scale, a, n0 / kBlock);
      int64_t n = 0;
      for (; n + G <= count; n += G) few_group<Math, M, G, R>(sums + n, a, x, n0 + n, scale);
      for (; n < count; ++n) few_group<Math, M, 1, 1>(sums + n, a, x, n0 + n, scale);
      with_output(a, [&]<class E>(E) { few_write<E>(a, sums, n0, count); });
    }
    return true;
  });
}

template <class Math, class X>
inline opswap_status few(const gemm_fp8_block128_args &a, int64_t grain) {
  const int64_t words = padded(a.K) / Math::kPerWord;
  uint32_t *x = static_cast<uint32_t *>(scratch(0, size_t(a.M * words + 16) * 4));
  if (!x) return fail(OPSWAP_E_MEMORY, "gemm_fp8_block128: no memory for %lld inputs", (long long)(a.M * a.K));
  for (int64_t m = 0; m < a.M; ++m) widen_row<Math>(x + m * words, row<X>(a.input, m), a.K);
  opswap_status status{OPSWAP_OK};
  const auto pick = [&]<int... M>(std::integer_sequence<int, M...>) {
    ((a.M == M + 1 ? void(status = few_blocks<Math, M + 1>(a, x, grain)) : void()), ...);
  };
  pick(std::make_integer_sequence<int, kFewMost>{});
  return status;
}

}  // namespace opswap::OPSWAP_ISA
