// One block of attention when few query rows share a KV head (decode): packing keys would cost more than it saves, so
// keys are read once from their pages with the queries spread over the lanes, and values are paired in registers.
#pragma once

#include "common/attend.h"
#include "common/code_words.h"
#include "common/spread.h"

namespace opswap::OPSWAP_ISA {

// o[r][column ..] += sum over keys of p[r][key] * value[key][column ..] for R rows and V vectors.
template <class Math, class E, int R, int V, class... Left>
inline void add_values(const Attention &w, int64_t row0, const E *const *keys, int64_t count, int64_t column,
                       Ahead<E> ahead, Left... left) {
  vf acc[R][V];
  float *o = w.o + row0 * w.columns + column;
  const float *p = w.s + row0 * kKeys;
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[r][v] = load(o + r * w.columns + v * kLanes);
  for (int64_t i = 0; i < count; i += Math::kPerWord, ++p) {
    vu words[V];
    ahead(i, Math::kPerWord);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) words[v] = value_words<Math>(keys + i, column + v * kLanes, left...);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      uint32_t word;
      std::memcpy(&word, p + r * kKeys, sizeof word);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = Math::madd(acc[r][v], words[v], vu{} + word);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(o + r * w.columns + v * kLanes, acc[r][v]);
}

template <class Math, class E, int R>
inline void add_values(const Attention &w, int64_t row0, const E *const *keys, int64_t count, int64_t width,
                       Ahead<E> ahead) {
  constexpr int V = R <= 4 ? kTileVectors : kTileVectors / 2;
  int64_t j = 0;
  const auto once = [&] { return Ahead<E>{ahead.vectors, j ? 0 : ahead.count, ahead.n}; };
  for (; j + V * kLanes <= width; j += V * kLanes) add_values<Math, E, R, V>(w, row0, keys, count, j, once());
  for (; j + kLanes <= width; j += kLanes) add_values<Math, E, R, 1>(w, row0, keys, count, j, once());
  if (j < width) add_values<Math, E, R, 1>(w, row0, keys, count, j, once(), width - j);
}

// R rows of probabilities from row0 on, in the way that suits what is cached.
template <class Math, class E, int R>
inline void add_some_values(const Attention &w, int64_t row0, const E *const *keys, int64_t count, int64_t width,
                            Ahead<E> ahead) {
#if defined(__AVX512F__)
  if constexpr (Math::kPerWord == 2 && std::is_same_v<E, e4m3>)
    return add_codes<R>({w.o + row0 * w.columns, w.columns, true},
                        {reinterpret_cast<const char *>(w.s + row0 * kKeys), kKeys * 4}, keys, count, width, ahead);
#endif
  add_values<Math, E, R>(w, row0, keys, count, width, ahead);
}

template <class Math, class E>
inline void add_values(const Attention &w, int64_t rows, const E *const *keys, int64_t count, int64_t width,
                       Ahead<E> ahead) {
  // Codes of four vectors at once leave room for fewer sums.
  constexpr int kMost = Math::kPerWord == 2 && std::is_same_v<E, e4m3> ? 4 : 8;
  const auto pick = [&]<int... R>(int64_t row0, int64_t n, std::integer_sequence<int, R...>) {
    ((n == R + 1 ? add_some_values<Math, E, R + 1>(w, row0, keys, count, width, ahead) : void()), ...);
  };
  for (int64_t r = 0; r < rows; r += kMost, ahead.count = 0)
    pick(r, rows - r < kMost ? rows - r : kMost, std::make_integer_sequence<int, kMost>{});
}

template <class Math, int Span>
struct FewRowsBlock {
  using Arithmetic = Math;
  const Attention &w;

  static int64_t q_words(int64_t n) { return round_up(words_of<Math>(n), Span); }
  // w.k holds keys that are not words in memory, [kLanes][q_words], and behind them the queries as a panel.
  uint32_t *panel() const { return w.k + kLanes * w.q_words; }
  template <class E>
  bool in_place(int64_t n) const {
    return is_words<Math, E> && n == w.q_words * Math::kPerWord;
  }

  void begin(int64_t rows, int64_t n) const {
    std::memset(w.k, 0, size_t(kLanes * w.q_words) * 4);
    pack_spread<Span>(panel(), {reinterpret_cast<const char *>(w.q), w.q_words * 4}, rows, words_of<Math>(n));
  }

  // The vectors of kLanes keys as rows of words, filled up with 0.
  template <class E>
  void key_words(const char *rows[kLanes], const E *const *keys, int64_t n) const {
    const bool here = in_place<E>(n);
    for (int i = 0; i < kLanes; ++i)
      rows[i] = here ? reinterpret_cast<const char *>(keys[i]) : reinterpret_cast<const char *>(w.k + i * w.q_words);
    if (here) return;
#if defined(__AVX512F__)
    if constexpr (Math::kPerWord == 2 && std::is_same_v<E, e4m3>) return copy_codes(w.k, w.q_words, keys, n);
#endif
    for (int i = 0; i < kLanes; ++i) copy_words<Math>(w.k + i * w.q_words, keys[i], n);
  }

  template <class E>
  void scores(const E *const *keys, int64_t rows, int64_t columns, int64_t n, Ahead<E> ahead) const {
    for (int64_t c = 0; c < columns; c += kLanes) {
      ahead(c, kLanes);
      const char *longs[kLanes];
      key_words(longs, keys + c, n);
      vf dots[kLanes];
      spread_dots<Math, Span>(dots, panel(), longs, w.q_words);
      for (int64_t r = 0; r < rows; ++r) store(w.s + r * kKeys + c, dots[r * Span]);
    }
  }

  template <class E>
  void values(const E *const *keys, int64_t rows, int64_t count, int64_t width, Ahead<E> ahead) const {
    add_values<Math, E>(w, rows, keys, count, width, ahead);
  }
};

// Calls body with the kind of block (a type) that suits `rows` query rows.
template <class Math, int Span = kLanes, class Body>
inline auto with_block(int64_t rows, Body &&body) {
  if (rows <= kLanes / Span) return body(std::type_identity<FewRowsBlock<Math, Span>>{});
  if constexpr (Span > 1)
    return with_block<Math, Span / 2>(rows, body);
  else
    return body(std::type_identity<PackedBlock<Math>>{});
}

}  // namespace opswap::OPSWAP_ISA
