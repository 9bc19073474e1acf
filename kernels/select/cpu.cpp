// select on a CPU: rows of a tensor by number, -1 for zeros. A copy per row.
#include "select.gen.h"

#include <cstring>

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

static void select_rows(const select_args &a, int64_t begin, int64_t end) {
  const int64_t bytes = dtype_bytes(a.scalar_dtype), n = a.D * bytes;
  for (int64_t m = begin; m < end; ++m) {
    const int64_t index = index_at(a.index, m);
    char *to = a.out.as<char>() + m * a.out.stride[0] * bytes;
    if (index < 0)
      std::memset(to, 0, size_t(n));
    else
      std::memcpy(to, a.input.as<char>() + index * a.input.stride[0] * bytes, size_t(n));
  }
}

OPSWAP_REF(select) {
  select_rows(a, 0, a.M);
  return OPSWAP_OK;
}

OPSWAP_CPU(select) {
  parallel_for(a.M, rows_per_task(a.D), [&](int64_t begin, int64_t end) { select_rows(a, begin, end); });
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
