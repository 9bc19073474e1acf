// Few rows of a product (product.h): the weights are the traffic, and each of their rows is read once, against all rows
// of the input (row_dots.h).
#pragma once

#include "common/op.h"
#include "common/row_dots.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kFewOutputs = 64;  // outputs of one task of few rows; they share their blocks' factors

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

// Sums of the outputs of a task, before the job takes them.
template <class Job>
struct FewSums {
  float dots[kDotRows * kFewMost + kLanes];          // as row_dots leaves them
  float of[Job::kParts][kFewMost][kFewOutputs + kLanes];
};

// The outputs [n0, n0 + count) of all rows; factor is [block][M].
template <class Math, class Job>
inline void few_task(const Job &job, FewSums<Job> &sums, const uint32_t *x, int64_t n0, int64_t count,
                     const float *factor) {
  const auto dots = row_dots_of<Math, WeightOf<Job>>(job.M);
  for (int p = 0; p < Job::kParts; ++p)
    for (int64_t n = 0; n < count; n += kDotRows) {
      const int64_t rows = count - n < kDotRows ? count - n : kDotRows;
      dots(sums.dots, x, job.weight(p, n0 + n), job.weight_stride(), rows, job.K, factor);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t m = 0; m < job.M; ++m) sums.of[p][m][n + r] = sums.dots[r * job.M + m];
    }
  for (int64_t m = 0; m < job.M; ++m)
    for (int64_t n = 0; n < count; n += kLanes) {
      vf of[Job::kParts];
      for (int p = 0; p < Job::kParts; ++p) of[p] = load(&sums.of[p][m][n]);
      job.write(m, n0 + n, of, count - n < kLanes ? count - n : kLanes);
    }
}

template <class Math, class Job>
inline opswap_status product_few(const Job &job, int64_t grain) {
  using W = WeightOf<Job>;
  if (!job.M) return OPSWAP_OK;
  const int64_t words = round_up(job.K, kStepElements<Math, W>) / Math::kPerWord;
  uint32_t *x = static_cast<uint32_t *>(scratch(0, size_t(job.M * words + 16) * 4));
  if (!x) return fail(OPSWAP_E_MEMORY, "%s: no memory for %lld inputs", Job::kOp, (long long)(job.M * job.K));
  for (int64_t m = 0; m < job.M; ++m) pack_for_dots<Math, W>(x, int(job.M), int(m), job.input(m), job.K);
  const int64_t tasks = (job.N + kFewOutputs - 1) / kFewOutputs;
  const int64_t blocks = Job::kFactors ? (job.K + kBlock - 1) / kBlock : 0;
  return parallel_try(tasks, grain, [&](int64_t begin, int64_t end) {
    float *factor = static_cast<float *>(scratch(1, size_t(blocks * job.M + 1) * sizeof(float)));
    if (!factor) return false;
    FewSums<Job> sums;
    for (int64_t n0 = begin * kFewOutputs; n0 < end * kFewOutputs && n0 < job.N; n0 += kFewOutputs) {
      if constexpr (Job::kFactors)
        for (int64_t b = 0; b < blocks; ++b)
          for (int64_t m = 0; m < job.M; ++m) factor[b * job.M + m] = job.factor(m, n0, b);
      few_task<Math>(job, sums, x, n0, job.N - n0 < kFewOutputs ? job.N - n0 : kFewOutputs,
                     Job::kFactors ? factor : nullptr);
    }
    return true;
  });
}

}  // namespace opswap::OPSWAP_ISA
