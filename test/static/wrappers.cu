// The kernels around every wrapper of common/sm90, which the emulator's tests run, for sm_90a: each instance that they
// use, so that its asm is assembled.
#include "kernels/wrap_copies.h"
#include "kernels/wrap_lanes.h"
#include "kernels/wrap_math.h"
#include "kernels/wrap_products.h"
#include "kernels/wrap_sync.h"

namespace opswap::sm90 {

#define EACH_RANK(X, ORDER) X(1, ORDER) X(2, ORDER) X(3, ORDER) X(4, ORDER) X(5, ORDER)
#define MAP const __grid_constant__ TensorMap
#define COPIES(RANK, ORDER)                                                                         \
  template __global__ void wrap_box<RANK, Evict::ORDER>(MAP, MAP, Corner, Corner, uint32_t);        \
  template __global__ void wrap_multicast<RANK, Evict::ORDER>(MAP, unsigned char *, Corner, Corner, \
                                                              uint32_t);                            \
  REDUCE(RANK, add, ORDER) REDUCE(RANK, min, ORDER) REDUCE(RANK, max, ORDER)
#define REDUCE(RANK, OP, ORDER)                                                                     \
  template __global__ void wrap_reduce<RANK, BulkReduce::OP, Evict::ORDER>(MAP, const unsigned char *, uint32_t, Corner);
EACH_RANK(COPIES, normal) EACH_RANK(COPIES, first)

#define BULK(ORDER) template __global__ void wrap_bulk<Evict::ORDER>(unsigned char *, const unsigned char *, uint32_t);
BULK(normal) BULK(first) BULK(last) BULK(unchanged)

#define WORDS(WORD)                                                \
  template __global__ void wrap_words<WORD>(WORD *, const WORD *); \
  template __global__ void wrap_words_if<WORD>(WORD *, const WORD *, uint32_t);
WORDS(uint8_t) WORDS(uint16_t) WORDS(uint32_t) WORDS(uint2) WORDS(uint4)

#define CP_ASYNC(BYTES) template __global__ void wrap_cp_async<BYTES>(unsigned char *, const unsigned char *, uint32_t);
CP_ASYNC(4) CP_ASYNC(8) CP_ASYNC(16)

#define MATRICES(COUNT) MATRIX(COUNT, false, false) MATRIX(COUNT, true, false) MATRIX(COUNT, false, true) MATRIX(COUNT, true, true)
#define MATRIX(COUNT, LOAD, STORE) \
  template __global__ void wrap_matrices<COUNT, LOAD, STORE>(uint16_t *, uint32_t *, const uint16_t *);
MATRICES(1) MATRICES(2) MATRICES(4)

#define PRODUCT(N) \
  template __global__ void wrap_product<N>(float *, const unsigned char *, const unsigned char *, int);
#define EIGHT(N) \
  PRODUCT(N + 8) PRODUCT(N + 16) PRODUCT(N + 24) PRODUCT(N + 32) PRODUCT(N + 40) PRODUCT(N + 48) PRODUCT(N + 56) PRODUCT(N + 64)
EIGHT(0) EIGHT(64) EIGHT(128) EIGHT(192)

template __global__ void wrap_operand_fence<true>(float *, const unsigned char *, const unsigned char *, float, int);

}  // namespace opswap::sm90
