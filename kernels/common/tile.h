// Small matrix products: out[r][c] (+)= sum over k of rows[r][k] * panel[k][c], in words (words.h).
// `rows` are read in place, one word broadcast at a time; the panel has the columns of kLanes-wide vectors side by
// side, so it is the side that is packed. Sums stay in registers for a whole pass over k.
#pragma once

#include "common/lanes.h"
#include "common/words.h"

namespace opswap::OPSWAP_ISA {

struct Rows {
  const char *data;  // row r starts at data + r * stride, in bytes
  int64_t stride;
  Rows from(int64_t row) const { return {data + row * stride, stride}; }
};
struct Panel {
  const uint32_t *data;  // [k][stride], in words
  int64_t stride;
};
// Where sums go. Another type with these three functions may take its place.
struct Out {
  float *data;  // [r][stride]
  int64_t stride;
  bool add;  // add to what is there
  Out at(int64_t row, int64_t column) const { return {data + row * stride + column, stride, add}; }
  vf before(int r, int v) const { return add ? load(data + r * stride + v * kLanes) : vf{}; }
  void after(int r, int v, vf sum) const { store(data + r * stride + v * kLanes, sum); }
};

// One register tile: R rows by V vectors.
template <class Math, int R, int V, class Sink>
inline void multiply_tile(Sink out, Rows rows, Panel panel, int64_t words) {
  vf acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = out.before(r, v);
  const uint32_t *column = panel.data;
  for (int64_t k = 0; k < words; ++k, column += panel.stride) {
    vu lanes[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) std::memcpy(&lanes[v], column + v * kLanes, sizeof(vu));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      uint32_t word;
      std::memcpy(&word, rows.data + r * rows.stride + k * 4, sizeof word);
      const vu both = vu{} + word;
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = Math::madd(acc[r][v], lanes[v], both);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) out.after(r, v, acc[r][v]);
}

constexpr int kTileVectors = kLanes == 16 ? 4 : 2;  // widest register tile
constexpr int kTileColumns = kTileVectors * kLanes;
// Rows of a tile V vectors wide: accumulators, one column and a broadcast fill the 32 or 16 vector registers.
constexpr int tile_rows(int v) { return v == kTileVectors ? 6 : 8; }

// Any number of rows by V vectors: whole tiles, then 4, 2 and 1 rows.
template <class Math, int V, int R = tile_rows(V), class Sink>
inline void multiply_rows(Sink out, Rows rows, int64_t count, Panel panel, int64_t words) {
  int64_t r = 0;
  for (; r + R <= count; r += R) multiply_tile<Math, R, V>(out.at(r, 0), rows.from(r), panel, words);
  if constexpr (R > 1) multiply_rows<Math, V, (R > 4 ? 4 : R / 2)>(out.at(r, 0), rows.from(r), count - r, panel, words);
}

// The same for a panel of any width, in whole vectors.
template <class Math, class Sink = Out>
inline void multiply(Sink out, Rows rows, int64_t count, Panel panel, int64_t columns, int64_t words) {
  const auto step = [&]<int V>(std::integral_constant<int, V>) {
    multiply_rows<Math, V>(out, rows, count, panel, words);
    out = out.at(0, V * kLanes);
    panel.data += V * kLanes;
    columns -= V * kLanes;
  };
  while (columns >= kTileColumns) step(std::integral_constant<int, kTileVectors>{});
  if constexpr (kTileVectors == 4) {
    if (columns >= 3 * kLanes) step(std::integral_constant<int, 3>{});
    if (columns >= 2 * kLanes) step(std::integral_constant<int, 2>{});
  }
  if (columns > 0) step(std::integral_constant<int, 1>{});
}

// panel[k][lane] = word k of row `lane`, for kLanes rows of n elements; rows that are null give 0.
template <class Math, class T>
inline void pack_rows(uint32_t *panel, int64_t panel_stride, const T *const rows[kLanes], int64_t n) {
  constexpr int64_t kStep = kLanes * Math::kPerWord;
  for (int64_t i = 0; i < n; i += kStep, panel += kLanes * panel_stride) {
    vf block[kLanes];
    for (int l = 0; l < kLanes; ++l) block[l] = rows[l] ? (vf)load_words<Math>(rows[l] + i, n - i) : vf{};
    transpose(block);
    const int64_t left = words_of<Math>(n - i);
    for (int k = 0; k < kLanes && k < left; ++k) store(reinterpret_cast<float *>(panel + k * panel_stride), block[k]);
  }
}

}  // namespace opswap::OPSWAP_ISA
