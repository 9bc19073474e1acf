// Many rows: the input is packed with its rows in the lanes. A task decodes one block of weights at a time into a
// buffer that stays in the L1 cache, multiplies it with every panel, and adds the product to its sums times the block's
// scales.
#pragma once

#include "common/tile.h"
#include "plan.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kPackBytes = 8 << 20;

// What multiply() does with a tile's sums: times the scale of their column, added to what is there.
struct ScaledOut {
  float *data;  // [r][stride]
  int64_t stride;
  const float *scale;  // of each column
  bool add;
  ScaledOut at(int64_t row, int64_t column) const {
    return {data + row * stride + column, stride, scale + column, add};
  }
  vf before(int, int) const { return vf{}; }
  void after(int r, int v, vf sum) const {
    float *p = data + r * stride + v * kLanes;
    const vf scaled = sum * load(scale + v * kLanes);
    store(p, add ? load(p) + scaled : scaled);
  }
};

// Rows [m0, m0 + count) of the input as panels of `width` rows: panel p is [words][width].
struct Packed {
  uint32_t *data;
  int64_t words, m0, count;
  int64_t columns() const { return round_up(count, kLanes); }
  int64_t width() const { return columns() < kTileColumns ? columns() : kTileColumns; }
  Panel panel(int64_t m, int64_t k) const { return {data + m * words + k * width(), width()}; }
};

template <class Math, class X>
inline opswap_status pack(const gemm_fp8_block128_args &a, const Packed &x) {
  using Stored = typename Math::Stored;
  return parallel_try(x.columns() / kLanes, rows_per_task(a.K * kLanes), [&](int64_t begin, int64_t end) {
    uint32_t *wide = static_cast<uint32_t *>(scratch(1, size_t(kLanes * x.words + 16) * 4));
    if (!wide) return false;
    for (int64_t group = begin; group < end; ++group) {
      const int64_t m = group * kLanes, panel = m / x.width() * x.width();
      const Stored *rows[kLanes] = {};
      for (int l = 0; l < kLanes && m + l < x.count; ++l) {
        widen_row<Math>(wide + l * x.words, row<X>(a.input, x.m0 + m + l), a.K);
        rows[l] = reinterpret_cast<const Stored *>(wide + l * x.words);
      }
      pack_rows<Math>(x.data + panel * x.words + (m - panel), x.width(), rows, x.words * Math::kPerWord);
    }
    return true;
  });
}

// out[m][n0 ..] = sums^T + bias, for sums [kTaskN][kTaskM] of which `count` x `rows` are wanted.
template <class E>
inline void many_write(const gemm_fp8_block128_args &a, const float *sums, int64_t m0, int64_t rows, int64_t n0,
                       int64_t count) {
  for (int64_t n = 0; n < count; n += kLanes) {
    const int64_t width = count - n < kLanes ? count - n : kLanes;
    const vf bias = a.bias ? load_tail(a.bias.as<E>() + n0 + n, width) : vf{};
    for (int64_t m = 0; m < rows; m += kLanes) {
      vf block[kLanes];
      for (int l = 0; l < kLanes; ++l) block[l] = load(sums + (n + l) * kTaskM + m);
      transpose(block);
      for (int l = 0; l < kLanes && m + l < rows; ++l) {
        E *out = row<E>(a.out, m0 + m + l) + n0 + n;
        width == kLanes ? store(out, block[l] + bias) : store_tail(out, block[l] + bias, width);
      }
    }
  }
}

// Rows of weights [n0, n0 + count) against rows [m, m + rows) of the packed input; work is sums, then a decoded block.
template <class Math>
inline void many_task(const gemm_fp8_block128_args &a, const Packed &x, int64_t m, int64_t rows, int64_t n0,
                      int64_t count, float *work) {
  constexpr int64_t kWords = kBlock / Math::kPerWord;
  float *sums = work, *scale = work + kTaskN * kTaskM;
  uint32_t *decoded = reinterpret_cast<uint32_t *>(scale + kTaskM);
  const float *weight_scale = row<float>(a.weight_scale, n0 / kBlock);
  if (a.K == 0) std::memset(sums, 0, kTaskN * kTaskM * sizeof(float));
  for (int64_t b = 0; b < a.B1; ++b) {
    for (int64_t i = 0; i < count; ++i) {
      vu words[kBlockVectors<Math>];
      decode_block<Math>(words, row<e4m3>(a.weight, n0 + i) + b * kBlock, a.K - b * kBlock);
      std::memcpy(decoded + i * kWords, words, sizeof words);
    }
    for (int64_t i = 0; i < round_up(rows, kLanes); ++i)
      scale[i] = weight_scale[b] * (i < rows ? input_scale_at(a, x.m0 + m + i, b) : 0.0f);
    for (int64_t p = 0; p < rows; p += kTileColumns)
      multiply<Math>(ScaledOut{sums + p, kTaskM, scale + p, b > 0},
                     Rows{reinterpret_cast<const char *>(decoded), kWords * 4}, count, x.panel(m + p, b * kWords),
                     rows - p < kTileColumns ? round_up(rows - p, kLanes) : kTileColumns, kWords);
  }
  with_output(a, [&]<class E>(E) { many_write<E>(a, sums, x.m0 + m, rows, n0, count); });
}

template <class Math>
inline opswap_status many_packed(const gemm_fp8_block128_args &a, const Packed &x, int64_t grain) {
  const int64_t across = (x.count + kTaskM - 1) / kTaskM, blocks = (a.N + kTaskN - 1) / kTaskN;
  return parallel_try(blocks * across, grain, [&](int64_t begin, int64_t end) {
    const int64_t floats = kTaskN * kTaskM + kTaskM + kTaskN * kBlock;
    float *work = static_cast<float *>(scratch(1, size_t(floats) * sizeof(float)));
    if (!work) return false;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n0 = task / across * kTaskN, m = task % across * kTaskM;
      many_task<Math>(a, x, m, x.count - m < kTaskM ? x.count - m : kTaskM, n0, a.N - n0 < kTaskN ? a.N - n0 : kTaskN,
                      work);
    }
    return true;
  });
}

template <class Math, class X>
inline opswap_status many(const gemm_fp8_block128_args &a, int64_t grain) {
  const int64_t words = padded(a.K) / Math::kPerWord;
  int64_t most = kPackBytes / 4 / (words + 1) / kTaskM * kTaskM;
  most = most < kTaskM ? kTaskM : most;
  for (int64_t m0 = 0; m0 < a.M; m0 += most) {
    const int64_t count = a.M - m0 < most ? a.M - m0 : most;
    const size_t bytes = size_t(round_up(count, kTileColumns) * words) * 4 + 64;
    const Packed x{static_cast<uint32_t *>(scratch(0, bytes)), words, m0, count};
    if (!x.data) return fail(OPSWAP_E_MEMORY, "gemm_fp8_block128: no memory for %zu bytes of packed input", bytes);
    if (opswap_status e = pack<Math, X>(a, x)) return e;
    if (opswap_status e = many_packed<Math>(a, x, grain)) return e;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
