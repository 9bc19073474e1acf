// moe_permute on a CPU: rows of tokens, one per chosen expert, ordered by expert. The order first, then the copies of
// each token.
#include "moe_permute.gen.h"

#include <cstring>

#include "common/permute.h"

namespace opswap::OPSWAP_ISA {

static void expand(const moe_permute_args &a, int64_t begin, int64_t end) {
  const int64_t bytes = dtype_bytes(a.scalar_dtype);
  for (int64_t t = begin; t < end; ++t) {
    const char *from = a.input.as<char>() + t * a.input.stride[0] * bytes;
    for (int64_t k = 0; k < a.K; ++k) {
      const int64_t to = index_at(a.row_of, t, k);
      if (to >= 0) std::memcpy(a.permuted.as<char>() + to * a.permuted.stride[0] * bytes, from, size_t(a.H * bytes));
    }
  }
}

OPSWAP_REF(moe_permute) {
  order_by_expert(a);
  expand(a, 0, a.T);
  return OPSWAP_OK;
}

// A token is read once and still lies in the cache for its other choices; a copy needs no SIMD of its own.
OPSWAP_CPU(moe_permute) {
  order_by_expert(a);
  parallel_for(a.T, rows_per_task(a.H * a.K), [&](int64_t begin, int64_t end) { expand(a, begin, end); });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
