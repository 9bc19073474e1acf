// A small kernel around the approximations of the special function unit.
#pragma once

#include "common/sm90/approx.h"
#include "common/sm90/global.h"

namespace opswap::sm90 {

__global__ void wrap_approx(float *powers, float *reciprocals, const float *in, int count) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  powers[i] = exp2_approx(in[i]);
  reciprocals[i] = reciprocal_approx(in[i]);
}

}  // namespace opswap::sm90
