// A product of rows of input and rows of weights on a CPU, out of what a room says of its own: product_few.h for few
// rows of input, product_many.h for many. Sums are float32.
//
// A room's struct has, as `Job`:
//   kOp, kParts                            its name; rows of weights that one output is made of, such as gate and up
//   kFactors                               whether each kBlock elements of K are summed on their own, times a factor
//   M, N, K                                rows and columns of out, length of a row
//   const X *input(m)                      row m of the input
//   const W *weight(part, n)               row n of a part of the weights, weight_stride(part) elements before the next
//   float factor(m, n, b)                  that of block b, where kFactors; n stands for 64 rows from n / 64 on
//   write(m, n, sums, width)               takes sums[kParts] of outputs [n, n + width) of row m; width <= kLanes
#pragma once

#include "common/product_few.h"
#include "common/product_many.h"

namespace opswap::OPSWAP_ISA {

// What a room says of rows where input is [M, K] of X and weight is [Parts * N, K] of W, one part behind the other.
template <class Args, class X, class W, int Parts = 1>
struct PlainRows {
  static constexpr int kParts = Parts;
  const Args &a;
  int64_t M = a.M, N = a.out.shape[1], K = a.K;

  const X *input(int64_t m) const { return row<X>(a.input, m); }
  const W *weight(int part, int64_t n) const { return row<W>(a.weight, part * N + n); }
  int64_t weight_stride(int) const { return a.weight.stride[0]; }
};

// Both sum in orders of their own, so what has to have the same bits in every batch takes the one for few rows for all.
// Of weights that have to be decoded for many rows, a few more rows are quicker this way as well.
constexpr int64_t kFewDecoded = 2 * kFewMost;
inline bool takes_few(int64_t m, bool in_place, bool batch_invariant) {
  return batch_invariant || m <= (in_place ? kFewMost : kFewDecoded);
}

template <class Math, class Job>
inline opswap_status product(const Job &job, bool batch_invariant) {
  return takes_few(job.M, words_in_place<Math>(job), batch_invariant)
             ? product_few<Math>(job, batch_invariant, few_grain(job.K))
             : product_many<Math>(job, 1);
}

}  // namespace opswap::OPSWAP_ISA
