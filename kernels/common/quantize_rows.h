// Rows that are computed in float32 and quantised: fill(values, t) writes row t into a thread's scratch row, which
// stays in the L1 cache until its codes are written.
#pragma once

#include <cstdlib>
#include <memory>

#include "common/quantize.h"

namespace opswap::OPSWAP_ISA {

struct FreeRow {
  void operator()(float *p) const { std::free(p); }
};
using ScratchRow = std::unique_ptr<float, FreeRow>;
inline ScratchRow scratch_row(int64_t n) {
  return ScratchRow(static_cast<float *>(std::malloc(size_t(n + 1) * sizeof(float))));
}

template <class Args, class Fill>
opswap_status quantized_rows(const Args &a, int64_t n, Fill &&fill) {
  const Scales scales(a);
  return parallel_try(a.T, rows_per_task(2 * n), [&](int64_t begin, int64_t end) {
    const ScratchRow values = scratch_row(n);
    if (!values) return false;
    for (int64_t t = begin; t < end; ++t) {
      fill(values.get(), t);
      quantize_row(row<e4m3>(a.out, t), values.get(), n, t, a.group_size, a.static_scale, scales);
    }
    return true;
  });
}

template <class Args, class Fill>
opswap_status quantized_rows_plain(const Args &a, int64_t n, Fill &&fill) {
  const Scales scales(a);
  const ScratchRow values = scratch_row(n);
  if (!values) return fail(OPSWAP_E_MEMORY, "no memory for a row of %lld floats", static_cast<long long>(n));
  for (int64_t t = 0; t < a.T; ++t) {
    fill(values.get(), t);
    quantize_row_plain(row<e4m3>(a.out, t), values.get(), n, t, a.group_size, a.static_scale, scales);
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
