// Few rows of a product (product.h): the weights are the traffic. Each of their rows is decoded once, in registers,
// against all rows of the input.
#pragma once

#include "common/fp8_words.h"
#include "common/lanes.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

constexpr int kFewMost = 8;          // rows of the input; more are faster as a matrix product
constexpr int64_t kFewOutputs = 64;  // outputs of one task of few rows; they share their blocks' factors

constexpr int few_rows(int m) { return m == 1 ? 16 : m == 2 ? 8 : m <= 4 ? 4 : 2; }  // sums for a transposition
constexpr int few_at_once(int m) { return m <= 2 ? 1 : 2; }  // rows of weights that share the loads of the input

// out[0 .. width) = sums + bias, where there is one; width is at most kLanes.
template <class E, class B>
inline void store_outputs(E *out, vf sums, const B *bias, int64_t width) {
  if (width == kLanes)
    store(out, bias ? sums + load(bias) : sums);
  else
    store_tail(out, bias ? sums + load_tail(bias, width) : sums, width);
}

// Tasks that a thread takes at a time.
inline int64_t few_grain(int64_t k) { return 1 + 32768 / (kFewOutputs * (k + 1)); }

// sums[m * stride + r] = sum over the blocks b of factor[b * M + m] * (x[m] . w[n + r] in block b), for R rows of
// weights.
template <class Math, int M, int R, class Job>
inline void few_dots(vf *sums, int stride, const Job &job, const uint32_t *x, int64_t x_words, int part, int64_t n,
                     const float *factor) {
  constexpr int V = kBlockVectors<Math>;
  vf total[R][M] = {};
  for (int64_t b = 0; b < job.blocks; ++b, factor += M) {
    const uint32_t *from = x + job.input_block(b) * V * kLanes;
    vu words[R][V];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) job.template weight<Math>(words[r], part, n + r, b);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      vf dots[R] = {};
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        vu lanes;
        std::memcpy(&lanes, from + m * x_words + v * kLanes, sizeof lanes);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) dots[r] = Math::madd(dots[r], lanes, words[r][v]);
      }
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) total[r][m] += dots[r] * splat(factor[m]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < M; ++m) sums[m * stride + r] = total[r][m];
}

// Sums of rows [n, n + G) of a part of the weights with all rows of the input, into out[m * kFewOutputs].
template <class Math, int M, int G, int R, class Job>
inline void few_group(float *out, const Job &job, const uint32_t *x, int part, int64_t n, const float *factor) {
  constexpr int kVectors = (M * G + kLanes - 1) / kLanes * kLanes;
  vf sums[kVectors] = {};
  const int64_t words = whole_blocks(job.K) / Math::kPerWord;
  for (int r = 0; r < G; r += R) few_dots<Math, M, R>(sums + r, G, job, x, words, part, n + r, factor);
  float each[kVectors];
  for (int g = 0; g < kVectors; g += kLanes) store(each + g, sum_each(sums + g));
  for (int m = 0; m < M; ++m) std::memcpy(out + m * kFewOutputs, each + m * G, G * sizeof(float));
}

// The outputs [n0, n0 + count) of sums [part][m][kFewOutputs] to where the job wants them.
template <class Job>
inline void few_write(const Job &job, const float *sums, int64_t n0, int64_t count) {
  for (int64_t m = 0; m < job.M; ++m)
    for (int64_t n = 0; n < count; n += kLanes) {
      vf of[Job::kParts];
      const int64_t width = count - n < kLanes ? count - n : kLanes;
      for (int p = 0; p < Job::kParts; ++p) {
        const float *from = sums + (p * job.M + m) * kFewOutputs + n;
        of[p] = width == kLanes ? load(from) : load_tail(from, width);
      }
      job.write(m, n0 + n, of, width);
    }
}

template <class Math, int M, class Job>
inline opswap_status few_blocks(const Job &job, const uint32_t *x, int64_t grain) {
  constexpr int G = few_rows(M), R = few_at_once(M);
  const int64_t tasks = (job.N + kFewOutputs - 1) / kFewOutputs;
  return parallel_try(tasks, grain, [&](int64_t begin, int64_t end) {
    float *factor = static_cast<float *>(scratch(1, size_t(job.blocks * M + 1) * sizeof(float)));
    if (!factor) return false;
    for (int64_t n0 = begin * kFewOutputs; n0 < end * kFewOutputs && n0 < job.N; n0 += kFewOutputs) {
      const int64_t count = job.N - n0 < kFewOutputs ? job.N - n0 : kFewOutputs;
      float sums[Job::kParts * M * kFewOutputs];
      for (int64_t b = 0; b < job.blocks; ++b)
        for (int m = 0; m < M; ++m) factor[b * M + m] = job.factor(m, n0, b);
      for (int p = 0; p < Job::kParts; ++p) {
        float *of = sums + p * M * kFewOutputs;
        int64_t n = 0;
        for (; n + G <= count; n += G) few_group<Math, M, G, R>(of + n, job, x, p, n0 + n, factor);
        for (; n < count; ++n) few_group<Math, M, 1, 1>(of + n, job, x, p, n0 + n, factor);
      }
      few_write(job, sums, n0, count);
    }
    return true;
  });
}

template <class Math, class Job>
inline opswap_status product_few(const Job &job, int64_t grain) {
  const int64_t words = whole_blocks(job.K) / Math::kPerWord;
  uint32_t *x = static_cast<uint32_t *>(scratch(0, size_t(job.M * words + 16) * 4));
  if (!x) return fail(OPSWAP_E_MEMORY, "%s: no memory for %lld inputs", Job::kOp, (long long)(job.M * job.K));
  for (int64_t m = 0; m < job.M; ++m) widen_row<Math>(x + m * words, job.input(m), job.K);
  opswap_status status{OPSWAP_OK};
  const auto pick = [&]<int... M>(std::integer_sequence<int, M...>) {
    ((job.M == M + 1 ? void(status = few_blocks<Math, M + 1>(job, x, grain)) : void()), ...);
  };
  pick(std::make_integer_sequence<int, kFewMost>{});
  return status;
}

}  // namespace opswap::OPSWAP_ISA
