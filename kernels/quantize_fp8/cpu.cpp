// quantize_fp8 on a CPU: FP8 codes, with a scale per group of elements. Scales per row, per tile or one for all.
#include "quantize_fp8.gen.h"

#include "common/quantize.h"

namespace opswap::OPSWAP_ISA {

// Rows and columns [row, row + rows) x [column, column + columns) share scale (r, c).
struct Group {
  int64_t row, rows, column, columns, r, c;
};

// The group of a grid position; extent 0 in op.json means all of that dimension.
static Group group_at(const quantize_fp8_args &a, int64_t r, int64_t c) {
  const int64_t rows = a.group_rows ? a.group_rows : a.T, columns = a.group_columns ? a.group_columns : a.H;
  const int64_t row = r * rows, column = c * columns;
  return {row, std::min(rows, a.T - row), column, std::min(columns, a.H - column), r, c};
}
static int64_t grid_rows(const quantize_fp8_args &a) { return a.mn_major ? a.S1 : a.S0; }
static int64_t grid_columns(const quantize_fp8_args &a) { return a.mn_major ? a.S0 : a.S1; }

template <class E>
static uint32_t group_amax(const quantize_fp8_args &a, const Group &g) {
  uint32_t most = 0;
  for (int64_t t = g.row; t < g.row + g.rows; ++t)
    most = std::max(most, amax(row<E>(a.input, t) + g.column, g.columns));
  return most;
}

template <class E>
static void quantize_group(const quantize_fp8_args &a, const Group &g, float scale) {
  for (int64_t t = g.row; t < g.row + g.rows; ++t)
    quantize_span(row<e4m3>(a.out, t) + g.column, row<E>(a.input, t) + g.column, g.columns, scale, a.static_scale);
}

OPSWAP_REF(quantize_fp8) {
  const Scales scales(a);
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t r = 0; r < grid_rows(a); ++r)
      for (int64_t c = 0; c < grid_columns(a); ++c) {
        const Group g = group_at(a, r, c);
        uint32_t most = 0;
        for (int64_t t = g.row; t < g.row + g.rows; ++t)
          for (int64_t h = g.column; h < g.column + g.columns; ++h)
            most = std::max(most, magnitude(to_float(row<E>(a.input, t)[h])));
        if (!a.static_scale) scales.at(r, c) = scale_of(most, a.floor);
        for (int64_t t = g.row; t < g.row + g.rows; ++t)
          for (int64_t h = g.column; h < g.column + g.columns; ++h)
            row<e4m3>(a.out, t)[h] = from_float<e4m3>(to_float(row<E>(a.input, t)[h]) / scales.at(r, c));
      }
    return OPSWAP_OK;
  });
}

// One scale for all: rows are shared out twice, once for the largest magnitude and once for the codes.
template <class E>
static opswap_status quantize_tensor(const quantize_fp8_args &a, const Scales &scales) {
  const int64_t grain = rows_per_task(a.H);
  if (!a.static_scale) {
    uint32_t most = 0;
    parallel_for(a.T, grain, [&](int64_t begin, int64_t end) {
      const uint32_t own = group_amax<E>(a, {begin, end - begin, 0, a.H, 0, 0});
      uint32_t seen = __atomic_load_n(&most, __ATOMIC_RELAXED);
      while (seen < own && !__atomic_compare_exchange_n(&most, &seen, own, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      }
    });
    scales.at(0, 0) = scale_of(most, a.floor);
  }
  parallel_for(a.T, grain, [&](int64_t begin, int64_t end) {
    quantize_group<E>(a, {begin, end - begin, 0, a.H, 0, 0}, scales.at(0, 0));
  });
  return OPSWAP_OK;
}

OPSWAP_CPU(quantize_fp8) {
  const Scales scales(a);
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    if (a.group_rows == 0) return quantize_tensor<E>(a, scales);
    if (a.group_rows == 1) {
      // Inputs of 16 bits are bound by arithmetic, which streaming does not help.
      const bool streams =
          sizeof(E) == 4 && a.group_columns % kCodesAtOnce == 0 && outgrows_caches(a.out, a.input.bytes, kCodesAtOnce);
      for_output_rows<e4m3>(a.out, a.T, rows_per_task(a.H), streams, [&](auto *out, int64_t t) {
        quantize_row(out, row<E>(a.input, t), a.H, t, a.group_columns, false, scales, float(a.floor));
      });
      return opswap_status{OPSWAP_OK};
    }
    const int64_t columns = grid_columns(a);
    parallel_for(grid_rows(a), rows_per_task(a.H * a.group_rows), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t c = 0; c < columns; ++c) {
          const Group g = group_at(a, r, c);
          const float scale = scales.at(r, c) = scale_of(group_amax<E>(a, g), a.floor);
          quantize_group<E>(a, g, scale);
        }
    });
    return opswap_status{OPSWAP_OK};
  });
}

}  // namespace opswap::OPSWAP_ISA
