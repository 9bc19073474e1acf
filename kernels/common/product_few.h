// A product (product.h) by dot products with few rows of the input at a time (row_dots.h): the weights are the traffic,
// and each of their rows is read once, or once more from a near cache for each further kFewMost rows of the input.
#pragma once

#include "common/op.h"
#include "common/row_dots.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kFewOutputs = 64;  // outputs of one task of few rows; they share their blocks' factors
constexpr int64_t kPackBytes = 8 << 20;

// Tasks that a thread takes at a time.
inline int64_t few_grain(int64_t k) { return 1 + 16384 / (kFewOutputs * (k + 1)); }

// out[0 .. width) = sums + bias, where there is one; width is at most kLanes.
template <class E, class B>
inline void store_outputs(E *out, vf sums, const B *bias, int64_t width) {
  if (width == kLanes)
    store(out, bias ? sums + load(bias) : sums);
  else
    store_tail(out, bias ? sums + load_tail(bias, width) : sums, width);
}

template <class Job>
using WeightOf = std::remove_cvref_t<decltype(*std::declval<const Job &>().weight(0, 0))>;

// Rows [m0, m0 + count) of the input, of which every kFewMost, or what is left, are packed together.
struct FewRows {
  uint32_t *data;
  int64_t words, m0, count;
  int64_t together(int64_t m) const { return count - m < kFewMost ? count - m : kFewMost; }
  uint32_t *at(int64_t m) const { return data + m * words; }
};

// Sums of the outputs of a task, before the job takes them.
template <class Job>
struct FewSums {
  float dots[kDotRows * kFewMost + kLanes];  // as row_dots leaves them
  float of[Job::kParts][kFewMost][kFewOutputs + kLanes];
};

// The outputs [n0, n0 + count) of M rows from x's m on; factor is [block][M].
template <class Math, class Job>
inline void few_task(const Job &job, RowDots<WeightOf<Job>> dots, FewSums<Job> &sums, const FewRows &x, int64_t m,
                     int64_t n0, int64_t count, const float *factor) {
  const int64_t M = x.together(m);
  for (int p = 0; p < Job::kParts; ++p)
    for (int64_t n = 0; n < count; n += kDotRows) {
      const int64_t rows = count - n < kDotRows ? count - n : kDotRows;
      dots(sums.dots, x.at(m), job.weight(p, n0 + n), job.weight_stride(p), rows, job.K, factor);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < M; ++i) sums.of[p][i][n + r] = sums.dots[r * M + i];
    }
  for (int64_t i = 0; i < M; ++i)
    for (int64_t n = 0; n < count; n += kLanes) {
      vf of[Job::kParts];
      for (int p = 0; p < Job::kParts; ++p) of[p] = load(&sums.of[p][i][n]);
      job.write(x.m0 + m + i, n0 + n, of, count - n < kLanes ? count - n : kLanes);
    }
}

template <class Math, class Job>
inline opswap_status few_packed(const Job &job, const FewRows &x, bool invariant, int64_t grain) {
  const int64_t tasks = (job.N + kFewOutputs - 1) / kFewOutputs;
  const int64_t blocks = Job::kFactors ? (job.K + kBlock - 1) / kBlock : 0;
  return parallel_try(tasks, grain, [&](int64_t begin, int64_t end) {
    float *factor = static_cast<float *>(scratch(1, size_t(blocks * kFewMost + 1) * sizeof(float)));
    if (!factor) return false;
    FewSums<Job> sums = {};
    for (int64_t n0 = begin * kFewOutputs; n0 < end * kFewOutputs && n0 < job.N; n0 += kFewOutputs)
      for (int64_t m = 0; m < x.count; m += kFewMost) {
        const int64_t M = x.together(m), count = job.N - n0 < kFewOutputs ? job.N - n0 : kFewOutputs;
        if constexpr (Job::kFactors)
          for (int64_t b = 0; b < blocks; ++b)
            for (int64_t i = 0; i < M; ++i) factor[b * M + i] = job.factor(x.m0 + m + i, n0, b);
        few_task<Math>(job, row_dots_of<Math, WeightOf<Job>>(M, invariant), sums, x, m, n0, count,
                       Job::kFactors ? factor : nullptr);
      }
    return true;
  });
}

template <class Math, class Job>
inline opswap_status product_few(const Job &job, bool invariant, int64_t grain) {
  using W = WeightOf<Job>;
  const int64_t words = round_up(job.K, kStepElements<Math, W>) / Math::kPerWord;
  int64_t most = kPackBytes / 4 / (words + 1) / kFewMost * kFewMost;
  most = most < kFewMost ? kFewMost : most;
  for (int64_t m0 = 0; m0 < job.M; m0 += most) {
    const int64_t count = job.M - m0 < most ? job.M - m0 : most;
    const FewRows x{static_cast<uint32_t *>(scratch(0, size_t(count * words + 16) * 4)), words, m0, count};
    if (!x.data) return fail(OPSWAP_E_MEMORY, "%s: no memory for %lld inputs", Job::kOp, (long long)(count * job.K));
    const auto pack = [&](int64_t m) {
      const int64_t first = m / kFewMost * kFewMost;
      pack_for_dots<Math, W>(x.at(first), int(x.together(first)), int(m - first), job.input(m0 + m), job.K);
    };
    parallel_for(count, rows_per_task(job.K), [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m) pack(m);
    });
    if (opswap_status e = few_packed<Math>(job, x, invariant, grain)) return e;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
