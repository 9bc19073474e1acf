// Few rows: every weight row is read once, from where it lies, against all rows of x at the same time.
#pragma once

#include "common/lanes.h"
#include "common/op.h"
#include "common/rows.h"
#include "common/words.h"
#include "linear.gen.h"

namespace opswap::OPSWAP_ISA {

constexpr int kGemvMost = 8;  // rows of x; more are faster as a matrix product

// Weight rows that share one pass over x of M rows: as many accumulators as registers hold.
constexpr int gemv_rows(int m) {
  constexpr int kAccumulators = kLanes == 16 ? 24 : 8;
  return m == 1 ? 8 : kAccumulators / m ? kAccumulators / m : 1;
}

// x as rows of words: in place when it is made of words already, otherwise a copy.
struct Words {
  const char *data;
  int64_t stride;  // bytes
};

// sums[m * R + r] = x[m] . w[r] over k elements.
template <class Math, int R, int M, class X, class W>
inline void dot_tile(float *sums, const X *x, int64_t x_stride, const W *w, int64_t w_stride, int64_t k) {
  constexpr int64_t kStep = kLanes * Math::kPerWord;
  constexpr int kGroups = (R * M + kLanes - 1) / kLanes;
  vf acc[kGroups * kLanes] = {};
  const auto step = [&](auto &&words, int64_t i) {
    vu weights[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) weights[r] = words(w + r * w_stride + i);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const vu lanes = words(x + m * x_stride + i);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) acc[m * R + r] = Math::madd(acc[m * R + r], lanes, weights[r]);
    }
  };
  int64_t i = 0;
  for (; i + kStep <= k; i += kStep) step([](const auto *p) { return load_words<Math>(p); }, i);
  if (i < k) step([n = k - i](const auto *p) { return load_words<Math>(p, n); }, i);
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) store(sums + g * kLanes, sum_each(acc + g * kLanes));
}

// out[m][n0 .. n0 + count) for all M rows, count <= kGemvBlock; the sums go through `sums` so that rounding is SIMD.
constexpr int kGemvBlock = 64;

template <class Math, int M, class X, class E, class W>
inline void gemv_block(const linear_args &a, const X *x, int64_t x_stride, int64_t n0, int64_t count) {
  constexpr int R = gemv_rows(M);
  float sums[M][kGemvBlock + 2 * kLanes];
  float part[(R * M + kLanes - 1) / kLanes * kLanes];
  const auto rows = [&]<int Count>(std::integral_constant<int, Count>, int64_t n) {
    dot_tile<Math, Count, M>(part, x, x_stride, row<W>(a.weight, n0 + n), a.weight.stride[0], a.K);
    for (int m = 0; m < M; ++m) std::memcpy(&sums[m][n], part + m * Count, Count * sizeof(float));
  };
  int64_t n = 0;
  for (; n + R <= count; n += R) rows(std::integral_constant<int, R>{}, n);
  for (; n < count; ++n) rows(std::integral_constant<int, 1>{}, n);
  const W *bias = a.bias ? a.bias.as<W>() + n0 : nullptr;
  for (int m = 0; m < M; ++m) {
    E *out = row<E>(a.out, m) + n0;
    for_lanes(
        count, [&](int64_t i) { store(out + i, bias ? load(sums[m] + i) + load(bias + i) : load(sums[m] + i)); },
        [&](int64_t i, int64_t left) {
          const vf sum = load(sums[m] + i);
          store_tail(out + i, bias ? sum + load_tail(bias + i, left) : sum, left);
        });
  }
}

template <class Math, class X, class E, class W>
inline void gemv(const linear_args &a, const X *x, int64_t x_stride) {
  const auto run = [&]<int M>(std::integral_constant<int, M>) {
    const int64_t blocks = (a.N + kGemvBlock - 1) / kGemvBlock;
    parallel_for(blocks, 1 + 16384 / (kGemvBlock * (a.K + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t n0 = b * kGemvBlock;
        gemv_block<Math, M, X, E, W>(a, x, x_stride, n0, a.N - n0 < kGemvBlock ? a.N - n0 : kGemvBlock);
      }
    });
  };
  const auto pick = [&]<int... M>(std::integer_sequence<int, M...>) {
    ((a.M == M + 1 ? run(std::integral_constant<int, M + 1>{}) : void()), ...);
  };
  pick(std::make_integer_sequence<int, kGemvMost>{});
}

// x of words is read in place, other x is converted to float32 once.
template <class Math, class E, class W>
inline opswap_status linear_few(const linear_args &a) {
  if constexpr (is_words<Math, E>) {
    gemv<Math, E, E, W>(a, a.input.as<E>(), a.input.stride[0]);
  } else {
    float *x = static_cast<float *>(scratch(0, size_t(a.M * a.K + 1) * sizeof(float)));
    if (!x) return fail(OPSWAP_E_MEMORY, "linear: no memory for %lld converted inputs", (long long)(a.M * a.K));
    for (int64_t m = 0; m < a.M; ++m)
      copy_words<Math>(reinterpret_cast<uint32_t *>(x + m * a.K), row<E>(a.input, m), a.K);
    gemv<Math, float, E, W>(a, x, a.K);
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
