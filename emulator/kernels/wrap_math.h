// Small kernels around the approximations of the special function unit, and around conversions.
#pragma once

#include "common/sm90/approx.h"
#include "common/sm90/codes.h"
#include "common/sm90/global.h"

namespace opswap::sm90 {

__global__ void wrap_approx(float *powers, float *reciprocals, const float *in, int count) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  powers[i] = exp2_approx(in[i]);
  reciprocals[i] = reciprocal_approx(in[i]);
}

__global__ void wrap_codes(uint32_t *words, const float *in) {
  const float *const from = in + threadIdx.x * 4;
  words[threadIdx.x] = e4m3_word(from[0], from[1], from[2], from[3]);
}

}  // namespace opswap::sm90
