// Dot products of a few rows of x with many rows of weights, which are read once, from where they lie, and decoded in
// registers (weight_words.h). The weights are the traffic and x is what has to stay near: of longer rows a piece is
// finished for some rows of weights before the next begins, so that the piece of x stays in the L1 cache.
#pragma once

#include "common/lanes.h"
#include "common/weight_words.h"

namespace opswap::OPSWAP_ISA {

constexpr int kFewMost = 8;        // rows of x; more are faster as a matrix product
constexpr int64_t kDotRows = 32;   // rows of weights whose sums are made together
constexpr int64_t kXInL1 = 16384;  // bytes of x that stay in the L1 cache while weights pass through it
// Weights that are asked for before they are needed, and rows of them that share the loads of x, which are what few
// rows of x wait for: two rows need more registers for sums than AVX2 has. Where whole rows of 16 bits pass by with one
// row of x, the CPU itself asks soon enough.
#if defined(__AVX512F__)
constexpr int64_t kAheadBytes = 16384;
constexpr int side_by_side(int m) { return m > 1 ? 2 : 1; }
constexpr bool asks_ahead(int order, bool codes) { return order > 1 || codes; }
#else
constexpr int64_t kAheadBytes = 2048;
constexpr int side_by_side(int) { return 1; }
constexpr bool asks_ahead(int order, bool) { return order > 1; }
#endif

// Sums that are kept for each row of x, so that there are enough additions that need not wait for one another: of codes
// with one row of x half as many, since those take longer to decode than sums to add up, and a block of them has no
// more vectors for a CPU that multiplies pairs. Where a row's sum has to have the same bits beside any number of
// others, they are as many, and pieces as long, as with most.
constexpr int partial_sums(int m, bool codes) { return m == 1 ? (codes ? 4 : 8) : m == 2 ? 4 : m <= 6 ? 2 : 1; }
constexpr int order_of(int m, bool invariant) { return invariant ? kFewMost : m; }

// Words of x for one step of weights: [vector of the step][M][kLanes].
template <class Math, class W>
constexpr int64_t kStepOfX = WeightWords<Math, W>::kVectors * kLanes;

// Row m of M, of k elements, into x.
template <class Math, class W, class X>
inline void pack_for_dots(uint32_t *x, int M, int m, const X *row, int64_t k) {
  constexpr int V = WeightWords<Math, W>::kVectors;
  constexpr int64_t kElements = kStepElements<Math, W>;
  for (int64_t i = 0; i < k; i += kElements, x += kStepOfX<Math, W> * M) {
    vu words[V];
    step_like<Math, W>(words, row + i, k - i);
    for (int v = 0; v < V; ++v) std::memcpy(x + (v * M + m) * kLanes, &words[v], sizeof(vu));
  }
}

// sums[r * M + m] = x[m] . w[r] over k elements, lane by lane, for R rows of weights; what lies `ahead` bytes from
// there is asked for.
template <class Math, int M, int Order, bool Any, int R, class W>
inline void dot_run(vf sums[R * M], const uint32_t *x, const W *const (&w)[R], int64_t k, int64_t ahead) {
  using Words = WeightWords<Math, W>;
  constexpr int V = Words::kVectors, P = partial_sums(Order, std::is_same_v<W, e4m3>);
  constexpr int64_t kElements = kStepElements<Math, W>, kBytes = kElements * int64_t(sizeof(W)),
                    kX = kStepOfX<Math, W> * M;
  constexpr int U = P > V ? P / V : kBytes < 64 ? int(64 / kBytes) : 1;  // steps at once
  vf part[P][R * M] = {};
  const auto step = [&](int u, const W *const(&from)[R], const uint32_t *lanes) {
    vu words[R][V];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) Words::template decode<Any>(words[r], from[r]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const vu of_x = load_bits(lanes + (v * M + m) * kLanes);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          vf &sum = part[(u * V + v) % P][r * M + m];
          sum = Math::madd(sum, of_x, words[r][v]);
        }
      }
  };
  const auto at = [&](int64_t i, auto &&use) {
    const W *from[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) from[r] = w[r] + i;
    use(from);
  };
  int64_t i = 0;
  for (; i + U * kElements <= k; i += U * kElements, x += U * kX) {
    if constexpr (asks_ahead(Order, std::is_same_v<W, e4m3>)) {
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) ask_ahead<U * kBytes>(w[r] + i, ahead);
    }
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) at(i + u * kElements, [&](const W *const(&from)[R]) { step(u, from, x + u * kX); });
  }
  for (; i < k; i += kElements, x += kX) {
    if (k - i >= kElements) {
      at(i, [&](const W *const(&from)[R]) { step(0, from, x); });
      continue;
    }
    W last[R][kElements] = {};
    const W *from[R];
    for (int r = 0; r < R; ++r) from[r] = last[r], std::memcpy(last[r], w[r] + i, size_t(k - i) * sizeof(W));
    step(0, from, x);
  }
#pragma GCC unroll 16
  for (int m = 0; m < R * M; ++m) {
    sums[m] = part[0][m];
#pragma GCC unroll 8
    for (int p = 1; p < P; ++p) sums[m] += part[p][m];
  }
}

// The same for any codes and any k, out of the way of the loops that most of the weights take.
template <class Math, int M, int Order, int R, class W>
[[gnu::noinline, gnu::cold]] void dot_any(vf sums[R * M], const uint32_t *x, const W *const (&w)[R], int64_t k,
                                          int64_t ahead) {
  dot_run<Math, M, Order, true>(sums, x, w, k, ahead);
}

// total[r * M + m] += x[m] . w[r] over k elements, block by block, times the factor of each: factor[b * M + m], or 1
// without.
template <class Math, int M, int Order, int R, class W>
inline void dot_blocks(vf total[R * M], const uint32_t *x, const W *(&w)[R], int64_t k, const float *factor,
                       int64_t ahead) {
  for (; k > 0; k -= kBlock, x += kBlock / Math::kPerWord * M) {
    vf part[R * M];
    const int64_t count = k < kBlock ? k : kBlock;
    bool plain = true;
    for (int r = 0; r < R; ++r) plain &= plain_block(w[r], count);
    if (plain) [[likely]]
      dot_run<Math, M, Order, false>(part, x, w, kBlock, ahead);
    else
      dot_any<Math, M, Order>(part, x, w, count, ahead);
    for (int r = 0; r < R; ++r) w[r] += kBlock;
    for (int m = 0; m < R * M && !factor; ++m) total[m] += part[m];
    if (!factor) continue;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) total[r * M + m] += part[r * M + m] * splat(factor[m]);
    factor += M;
  }
}

// sums[n * M + m] = x[m] . w row n, for `rows` rows of k elements, `stride` apart. With factors, factor[b * M + m] is
// what the sum over block b, of kBlock elements, is multiplied by.
template <class Math, int M, int Order, class W>
[[gnu::noinline]] void row_dots(float *sums, const uint32_t *x, const W *w, int64_t stride, int64_t rows, int64_t k,
                                const float *factor) {
  constexpr int64_t kMost = kXInL1 * Math::kPerWord / (4 * Order) / kBlock * kBlock;
  constexpr int R = side_by_side(M);
  vf table[(kDotRows * M + kLanes - 1) / kLanes * kLanes + (R - 1) * M];
  if (!k) std::memset(table, 0, sizeof table);
  const int64_t pieces = (k + kMost - 1) / kMost, piece = pieces ? round_up((k + pieces - 1) / pieces, kBlock) : 0;
  const int64_t bytes = piece * int64_t(sizeof(W)) + 1, rows_ahead = (kAheadBytes + bytes - 1) / bytes;
  const int64_t ahead = rows_ahead * stride * int64_t(sizeof(W));
  int64_t done = 0;
  for (int64_t k0 = 0; k0 < k; k0 += piece) {
    const int64_t count = k - k0 < piece ? k - k0 : piece;
    const uint32_t *from = x + k0 / Math::kPerWord * M;
    for (int64_t n = 0; n < rows; n += R) {
      // Where there is no second row, the first one stands in for it; nobody reads those sums.
      const W *of[R];
      for (int r = 0; r < R; ++r) of[r] = w + (n + r < rows ? n + r : n) * stride + k0;
      vf total[R * M] = {};
      if (factor || std::is_same_v<W, e4m3>)
        dot_blocks<Math, M, Order>(total, from, of, count, factor ? factor + k0 / kBlock * M : factor, ahead);
      else
        dot_run<Math, M, Order, true>(total, from, of, count, ahead);
#pragma GCC unroll 16
      for (int m = 0; m < R * M; ++m) table[n * M + m] = k0 ? table[n * M + m] + total[m] : total[m];
      // Those of whole rows are put together while they are near.
      for (; k0 + piece >= k && done + kLanes <= (n + R) * M; done += kLanes)
        store(sums + done, sum_each(table + done));
    }
  }
  for (; done < rows * M; done += kLanes) store(sums + done, sum_each(table + done));
}

// row_dots for M rows of x, 1 to kFewMost; it stores whole vectors of sums.
template <class W>
using RowDots = void (*)(float *sums, const uint32_t *x, const W *w, int64_t stride, int64_t rows, int64_t k,
                         const float *factor);
template <class Math, class W, bool Invariant, int... M>
inline RowDots<W> row_dots_of(int64_t m, std::integer_sequence<int, M...>) {
  static constexpr RowDots<W> all[] = {row_dots<Math, M + 1, order_of(M + 1, Invariant), W>...};
  return all[m - 1];
}
template <class Math, class W>
inline RowDots<W> row_dots_of(int64_t m, bool invariant) {
  constexpr auto each = std::make_integer_sequence<int, kFewMost>{};
  return invariant ? row_dots_of<Math, W, true>(m, each) : row_dots_of<Math, W, false>(m, each);
}

}  // namespace opswap::OPSWAP_ISA
