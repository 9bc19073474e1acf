// A product of rows of input and rows of weights on a CPU, out of what a room says of its own: product_few.h for few
// rows of input, product_many.h for many. Sums are float32; each 128 of K, a block, is summed on its own, times a
// factor.
//
// A room's struct has, as `Job`:
//   kOp, kParts                      its name; rows of weights of one output: 1, or 2 for gate and up
//   M, N, K, blocks                  rows and columns of out, length of a row, blocks that are summed
//   const X *input(m)                row m of the input
//   int64_t input_block(b)           the block of the input that block b of the weights is multiplied with
//   weight<Math>(words, part, n, b)  block b of row n of a part of the weights, in words
//   float factor(m, n, b)            of the sums of block b, in row m and the 64 columns from n on
//   write(m, n, sums, width)         takes sums[kParts] of outputs [n, n + width) of row m
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
