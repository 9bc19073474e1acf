// The emulator's own GEMM for sm_90a: the products that `npm run sass` and the gates look at.
#include "kernels/gemm.h"

namespace opswap::sm90 {

#define GEMM(TYPE)                                                                                                     \
  template __global__ void gemm_example<MatrixType::TYPE>(const __grid_constant__ TensorMap, const __grid_constant__ TensorMap, float *, int, int, int);
GEMM(bf16)
GEMM(e4m3)

}  // namespace opswap::sm90
