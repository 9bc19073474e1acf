// The emulator's own products for sm_90a: what `npm run sass` and the gates look at beside the rooms' kernels.
#include "kernels/gemm.h"
#include "kernels/tile.h"

namespace opswap::sm90 {

#define GEMM(TYPE)                                                                           \
  template __global__ void gemm_example<MatrixType::TYPE>(const __grid_constant__ TensorMap, \
                                                          const __grid_constant__ TensorMap, float *, int, int, int);
GEMM(bf16)
GEMM(e4m3)

}  // namespace opswap::sm90

// sass gemm_example: issue<=23.5 descriptor=0x40000040
// sass tile_example: descriptor=0x40000040
