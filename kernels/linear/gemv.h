// linear on the CPU for few rows of x: every weight row is read once, from where it lies, against all of them.
#pragma once

#include "common/op.h"
#include "common/rows.h"
#include "common/spread.h"
#include "linear.gen.h"

namespace opswap::OPSWAP_ISA {

constexpr int kGemvMost = 8;  // rows of x; more are faster as a matrix product

// Weight rows whose sums are made together: one vector of sums.
constexpr int gemv_rows(int m) { return kLanes / m ? kLanes / m : 1; }

// sums[m * R + r] = x[m] . w[r] over k elements. Row after row, although that loads x again for each: the weights are
// then one stream through memory, which hardware fetches ahead across rows; eight short rows side by side reach 60%.
template <class Math, int R, int M, class X, class W>
inline void dot_tile(float *sums, const X *x, int64_t x_stride, const W *w, int64_t w_stride, int64_t k) {
  constexpr int64_t kStep = kLanes * Math::kPerWord;
  constexpr int kGroups = (R * M + kLanes - 1) / kLanes;
  vf acc[kGroups * kLanes] = {};
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r, w += w_stride) {
    const auto step = [&](auto &&words, int64_t i) {
      const vu weights = words(w + i);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) acc[m * R + r] = Math::madd(acc[m * R + r], words(x + m * x_stride + i), weights);
    };
    int64_t i = 0;
    for (; i + kStep <= k; i += kStep) step([](const auto *p) { return load_words<Math>(p); }, i);
    if (i < k) step([n = k - i](const auto *p) { return load_words<Math>(p, n); }, i);
  }
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) store(sums + g * kLanes, sum_each(acc + g * kLanes));
}

// A block of outputs: the sums of all rows of x pass through memory, so that bias and rounding are SIMD.
constexpr int kGemvBlock = 64;
struct Sums {
  float at[kGemvMost][kGemvBlock + 2 * kLanes];
};

// sums.at[m][i] = x[m] . w[n0 + i] for i < count.
template <class Math, int M, class X, class W>
inline void dot_block(const linear_args &a, Sums &sums, const X *x, int64_t x_stride, int64_t n0, int64_t count) {
  constexpr int R = gemv_rows(M);
  float part[(R * M + kLanes - 1) / kLanes * kLanes];
  const auto rows = [&]<int Count>(std::integral_constant<int, Count>, int64_t n) {
    dot_tile<Math, Count, M>(part, x, x_stride, row<W>(a.weight, n0 + n), a.weight.stride[0], a.K);
    for (int m = 0; m < M; ++m) std::memcpy(&sums.at[m][n], part + m * Count, Count * sizeof(float));
  };
  int64_t n = 0;
  for (; n + R <= count; n += R) rows(std::integral_constant<int, R>{}, n);
  for (; n < count; ++n) rows(std::integral_constant<int, 1>{}, n);
}

// The same with x spread over the lanes (spread.h), for kLanes / 4 < M <= kLanes / 2 rows that the L1 cache does not
// hold.
constexpr int kSpan = 2;
constexpr int64_t kXInL1 = 12288;  // bytes of x that stay in the L1 cache while weights pass through it
template <class Math, class W>
inline void spread_block(const linear_args &a, Sums &sums, const uint32_t *x, int64_t n0, int64_t count) {
  for (int64_t n = 0; n < count; n += kLanes) {
    const char *rows[kLanes];
    for (int i = 0; i < kLanes; ++i)
      rows[i] = reinterpret_cast<char *>(row<W>(a.weight, n0 + (n + i < count ? n + i : n)));
    vf dots[kLanes];
    spread_dots<Math, kSpan>(dots, x, rows, words_of<Math>(a.K));
    for (int64_t m = 0; m < a.M; ++m) store(sums.at[m] + n, dots[m * kSpan]);
  }
}

template <class E, class W>
inline void write_block(const linear_args &a, const Sums &sums, int64_t n0, int64_t count) {
  const W *bias = a.bias ? a.bias.as<W>() + n0 : nullptr;
  for (int64_t m = 0; m < a.M; ++m) {
    E *out = row<E>(a.out, m) + n0;
    const float *sum = sums.at[m];
    for_lanes(
        count, [&](int64_t i) { store(out + i, bias ? load(sum + i) + load(bias + i) : load(sum + i)); },
        [&](int64_t i, int64_t left) {
          store_tail(out + i, bias ? load(sum + i) + load_tail(bias + i, left) : load(sum + i), left);
        });
  }
}

// fill(sums, n0, count) for every block of outputs.
template <class E, class W, class Fill>
inline void for_blocks(const linear_args &a, Fill &&fill) {
  const int64_t blocks = (a.N + kGemvBlock - 1) / kGemvBlock;
  parallel_for(blocks, 1 + 16384 / (kGemvBlock * (a.K + 1)), [&](int64_t begin, int64_t end) {
    Sums sums;
    for (int64_t n0 = begin * kGemvBlock; n0 < end * kGemvBlock && n0 < a.N; n0 += kGemvBlock) {
      const int64_t count = a.N - n0 < kGemvBlock ? a.N - n0 : kGemvBlock;
      fill(sums, n0, count);
      write_block<E, W>(a, sums, n0, count);
    }
  });
}

template <class Math, class X, class E, class W>
inline void gemv(const linear_args &a, const X *x, int64_t x_stride) {
  const auto run = [&]<int M>(std::integral_constant<int, M>) {
    for_blocks<E, W>(
        a, [&](Sums &sums, int64_t n0, int64_t count) { dot_block<Math, M, X, W>(a, sums, x, x_stride, n0, count); });
  };
  const auto pick = [&]<int... M>(std::integer_sequence<int, M...>) {
    ((a.M == M + 1 ? run(std::integral_constant<int, M + 1>{}) : void()), ...);
  };
  pick(std::make_integer_sequence<int, kGemvMost>{});
}

template <class Math, class E, class W>
inline opswap_status gemv_spread(const linear_args &a, const char *x, int64_t x_stride) {
  const int64_t words = words_of<Math>(a.K);
  uint32_t *panel = static_cast<uint32_t *>(scratch(1, size_t(words * kLanes / kSpan) * 4));
  if (!panel) return fail(OPSWAP_E_MEMORY, "linear: no memory for %lld packed inputs", (long long)(a.M * a.K));
  pack_spread<kSpan>(panel, {x, x_stride}, a.M, words);
  for_blocks<E, W>(a, [&](Sums &sums, int64_t n0, int64_t count) { spread_block<Math, W>(a, sums, panel, n0, count); });
  return OPSWAP_OK;
}

template <class Math, class X, class E, class W>
inline opswap_status linear_few(const linear_args &a, const X *x, int64_t x_stride) {
  if constexpr (is_words<Math, W>)
    if (a.M > kLanes / 4 && a.M <= kLanes / kSpan && a.M * a.K * int64_t(sizeof(X)) > kXInL1 && a.K &&
        a.K % (kSpan * Math::kPerWord) == 0)
      return gemv_spread<Math, E, W>(a, reinterpret_cast<const char *>(x), x_stride * int64_t(sizeof(X)));
  gemv<Math, X, E, W>(a, x, x_stride);
  return OPSWAP_OK;
}

// x of words is read in place, other x is converted to float32 once.
template <class Math, class E, class W>
inline opswap_status linear_few(const linear_args &a) {
  if constexpr (is_words<Math, E>) {
    return linear_few<Math, E, E, W>(a, a.input.as<E>(), a.input.stride[0]);
  } else {
    float *x = static_cast<float *>(scratch(0, size_t(a.M * a.K + 1) * sizeof(float)));
    if (!x) return fail(OPSWAP_E_MEMORY, "linear: no memory for %lld converted inputs", (long long)(a.M * a.K));
    for (int64_t m = 0; m < a.M; ++m)
      copy_words<Math>(reinterpret_cast<uint32_t *>(x + m * a.K), row<E>(a.input, m), a.K);
    return linear_few<Math, float, E, W>(a, x, a.K);
  }
}

}  // namespace opswap::OPSWAP_ISA
