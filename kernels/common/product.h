// A product of rows of input and rows of weights on a CPU, out of what a room says of its own: product_few.h for few
// rows of input, product_many.h for many. Sums are float32.
//
// A room's struct has, as `Job`:
//   kOp, kParts                            its name; rows of weights that one output is made of, such as gate and up
//   kFactors                               whether each kBlock elements of K are summed on their own, times a factor
//   M, N, K                                rows and columns of out, length of a row
//   const X *input(m)                      row m of the input
//   const W *weight(part, n)               row n of a part of the weights, weight_stride() elements before the next
//   float factor(m, n, b)                  that of block b, where kFactors; n stands for 64 rows from n / 64 on
//   write(m, n, sums, width)               takes sums[kParts] of outputs [n, n + width) of row m; width <= kLanes
#pragma once

#include "common/product_few.h"
#include "common/product_many.h"

namespace opswap::OPSWAP_ISA {

// Few rows are summed lane by lane and many element by element, so what has to have the same bits in every batch takes
// one of the two for all. The one for many costs as much for one row as for kLanes of them.
template <class Math, class Job>
inline opswap_status product(const Job &job, bool batch_invariant) {
  return job.M <= kFewMost && !batch_invariant ? product_few<Math>(job, few_grain(job.K)) : product_many<Math>(job, 1);
}

}  // namespace opswap::OPSWAP_ISA
