// Dot products of a few rows of x with many rows of weights, which are read once, from where they lie, and decoded in
// registers (weight_words.h). The weights are the traffic and x is what has to stay near: of longer rows a piece is
// finished for some rows of weights before the next begins, so that the piece of x stays in the L1 cache.
#pragma once

#include "common/lanes.h"
#include "common/weight_words.h"

namespace opswap::OPSWAP_ISA {

constexpr int kFewMost = 8;            // rows of x; more are faster as a matrix product
constexpr int64_t kDotRows = 32;       // rows of weights whose sums are made together
constexpr int64_t kXInL1 = 16384;      // bytes of x that stay in the L1 cache while weights pass through it
constexpr int64_t kAheadBytes = 2048;  // weights that are asked for before they are needed

// Sums that are kept for each row of x, so that there are enough additions that need not wait for one another: of
// weights that a step makes 4 vectors of, half as many, since those take longer to decode than sums to add up. Where a
// row's sum has to have the same bits beside any number of others, they are as many, and pieces as long, as with most.
constexpr int partial_sums(int m, int vectors) { return m == 1 ? (vectors == 4 ? 4 : 8) : m == 2 ? 4 : m <= 6 ? 2 : 1; }
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

// sums[m] = x[m] . w over k elements, lane by lane; what lies `ahead` bytes from there is asked for.
template <class Math, int M, int Order, bool Any, class W>
inline void dot_run(vf sums[M], const uint32_t *x, const W *w, int64_t k, int64_t ahead) {
  using Words = WeightWords<Math, W>;
  constexpr int V = Words::kVectors, P = partial_sums(Order, V);
  constexpr int64_t kElements = kStepElements<Math, W>, kBytes = kElements * int64_t(sizeof(W)),
                    kX = kStepOfX<Math, W> * M;
  constexpr int U = P > V ? P / V : kBytes < 64 ? int(64 / kBytes) : 1;  // steps at once
  vf part[P][M] = {};
  const auto step = [&](int u, const W *from, const uint32_t *lanes) {
    vu words[V];
    Words::template decode<Any>(words, from);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
        part[(u * V + v) % P][m] =
            Math::madd(part[(u * V + v) % P][m], load_bits(lanes + (v * M + m) * kLanes), words[v]);
  };
  int64_t i = 0;
  for (; i + U * kElements <= k; i += U * kElements, x += U * kX) {
    if constexpr (M > 1) ask_ahead<U * kBytes>(w + i, ahead);  // one row is through before memory has answered
#pragma GCC unroll 8
    for (int u = 0; u < U; ++u) step(u, w + i + u * kElements, x + u * kX);
  }
  for (; i < k; i += kElements, x += kX) {
    W last[kElements] = {};
    const bool whole = k - i >= kElements;
    if (!whole) std::memcpy(last, w + i, size_t(k - i) * sizeof(W));
    step(0, whole ? w + i : last, x);
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    sums[m] = part[0][m];
#pragma GCC unroll 8
    for (int p = 1; p < P; ++p) sums[m] += part[p][m];
  }
}

// The same for any codes and any k, out of the way of the loops that most of the weights take.
template <class Math, int M, int Order, class W>
[[gnu::noinline, gnu::cold]] void dot_any(vf sums[M], const uint32_t *x, const W *w, int64_t k, int64_t ahead) {
  dot_run<Math, M, Order, true>(sums, x, w, k, ahead);
}

// total[m] += x[m] . w over k elements, block by block, times the factor of each: factor[b * M + m], or 1 without.
template <class Math, int M, int Order, class W>
inline void dot_blocks(vf total[M], const uint32_t *x, const W *w, int64_t k, const float *factor, int64_t ahead) {
  for (; k > 0; k -= kBlock, w += kBlock, x += kBlock / Math::kPerWord * M) {
    vf part[M];
    if (plain_block(w, k < kBlock ? k : kBlock)) [[likely]]
      dot_run<Math, M, Order, false>(part, x, w, kBlock, ahead);
    else
      dot_any<Math, M, Order>(part, x, w, k < kBlock ? k : kBlock, ahead);
    for (int m = 0; m < M && !factor; ++m) total[m] += part[m];
    if (!factor) continue;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) total[m] += part[m] * splat(factor[m]);
    factor += M;
  }
}

// sums[n * M + m] = x[m] . w row n, for `rows` rows of k elements, `stride` apart. With factors, factor[b * M + m] is
// what the sum over block b, of kBlock elements, is multiplied by.
template <class Math, int M, int Order, class W>
[[gnu::noinline]] void row_dots(float *sums, const uint32_t *x, const W *w, int64_t stride, int64_t rows, int64_t k,
                                const float *factor) {
  constexpr int64_t kMost = kXInL1 * Math::kPerWord / (4 * Order) / kBlock * kBlock;
  vf table[(kDotRows * M + kLanes - 1) / kLanes * kLanes];
  std::memset(table, 0, sizeof table);
  const int64_t pieces = (k + kMost - 1) / kMost, piece = pieces ? round_up((k + pieces - 1) / pieces, kBlock) : 0;
  const int64_t bytes = piece * int64_t(sizeof(W)) + 1, rows_ahead = (kAheadBytes + bytes - 1) / bytes;
  const int64_t ahead = rows_ahead * stride * int64_t(sizeof(W));
  for (int64_t k0 = 0; k0 < k; k0 += piece) {
    const int64_t count = k - k0 < piece ? k - k0 : piece;
    const uint32_t *from = x + k0 / Math::kPerWord * M;
    for (int64_t n = 0; n < rows; ++n) {
      vf *total = table + n * M;
      if (factor || std::is_same_v<W, e4m3>) {
        dot_blocks<Math, M, Order>(total, from, w + n * stride + k0, count, factor ? factor + k0 / kBlock * M : factor,
                                   ahead);
      } else {
        vf part[M];
        dot_run<Math, M, Order, true>(part, from, w + n * stride + k0, count, ahead);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) total[m] += part[m];
      }
    }
  }
  for (int64_t i = 0; i < rows * M; i += kLanes) store(sums + i, sum_each(table + i));
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
