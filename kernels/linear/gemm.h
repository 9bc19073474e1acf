// linear on the CPU for many rows of x. x is packed into panels with its rows in the vector lanes. Words of the weight
// matrix are broadcast from where they lie; only a weight of another dtype, or rows that end inside a word, are
// converted block by block into a copy. Sums are tiles of out^T, transposed when they are written.
#pragma once

#include "common/op.h"
#include "common/rows.h"
#include "common/tile.h"
#include "linear.gen.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kBlockN = 96;   // weight rows of one task; a multiple of every tile_rows and of kLanes
constexpr int64_t kBlockM = 256;  // rows of x whose sums one task keeps
constexpr int64_t kBlockK = 256;  // words of one pass: a panel of that depth stays in the L2 cache
constexpr int64_t kPackBytes = 8 << 20;

// Rows [m0, m0 + count) of x packed as panels of `width` rows: panel p is [words][width].
struct PackedX {
  uint32_t *data;
  int64_t words, m0, count;
  int64_t columns() const { return round_up(count, kLanes); }
  int64_t width() const { return columns() < kTileColumns ? columns() : kTileColumns; }
  Panel panel(int64_t m, int64_t k) const { return {data + m * words + k * width(), width()}; }
};

template <class Math, class E>
inline void pack_x(const linear_args &a, const PackedX &x) {
  parallel_for(x.columns() / kLanes, rows_per_task(a.K * kLanes), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t m = group * kLanes, panel = m / x.width() * x.width();
      const E *rows[kLanes];
      for (int l = 0; l < kLanes; ++l) rows[l] = m + l < x.count ? row<E>(a.input, x.m0 + m + l) : nullptr;
      pack_rows<Math>(x.data + panel * x.words + (m - panel), x.width(), rows, a.K);
    }
  });
}

template <class Math, class W>
constexpr bool weights_in_place(const linear_args &a) {
  return is_words<Math, W> && a.K % Math::kPerWord == 0;
}

// Words [k0, k0 + words) of weight rows [n0, n0 + count): in place where possible, otherwise converted into `copy`.
template <class Math, class W>
inline Rows weight_words(const linear_args &a, int64_t n0, int64_t count, int64_t k0, int64_t words, uint32_t *copy) {
  const int64_t from = k0 * Math::kPerWord, n = words * Math::kPerWord;
  if (weights_in_place<Math, W>(a))
    return {reinterpret_cast<const char *>(row<W>(a.weight, n0) + from), a.weight.stride[0] * int64_t(sizeof(W))};
  for (int64_t i = 0; i < count; ++i)
    copy_words<Math>(copy + i * kBlockK, row<W>(a.weight, n0 + i) + from, a.K - from < n ? a.K - from : n);
  return {reinterpret_cast<const char *>(copy), kBlockK * 4};
}

// out[m][n0 ..] = sums^T + bias, for sums [kBlockN][kBlockM] of which `rows` x `count` are wanted.
template <class E, class W>
inline void write_out(const linear_args &a, const float *sums, int64_t m0, int64_t rows, int64_t n0, int64_t count) {
  for (int64_t n = 0; n < count; n += kLanes) {
    const int64_t width = count - n < kLanes ? count - n : kLanes;
    const vf bias = a.bias ? load_tail(a.bias.as<W>() + n0 + n, width) : vf{};
    for (int64_t m = 0; m < rows; m += kLanes) {
      vf block[kLanes];
      for (int l = 0; l < kLanes; ++l) block[l] = load(sums + (n + l) * kBlockM + m);
      transpose(block);
      for (int l = 0; l < kLanes && m + l < rows; ++l) {
        E *out = row<E>(a.out, m0 + m + l) + n0 + n;
        width == kLanes ? store(out, block[l] + bias) : store_tail(out, block[l] + bias, width);
      }
    }
  }
}

// One task: weight rows [n0, n0 + count) against rows [m, m + rows) of the packed x.
template <class Math, class E, class W>
inline void gemm_block(const linear_args &a, const PackedX &x, int64_t m, int64_t rows, int64_t n0, int64_t count,
                       float *sums) {
  uint32_t *copy = reinterpret_cast<uint32_t *>(sums + kBlockN * kBlockM);
  // A narrow panel may be deeper, so that the weights stream in longer runs.
  const int64_t depth = weights_in_place<Math, W>(a) ? kBlockK * kTileColumns / x.width() : kBlockK;
  for (int64_t k = 0; k == 0 || k < x.words; k += depth) {
    const int64_t words = x.words - k < depth ? x.words - k : depth;
    const Rows weights = weight_words<Math, W>(a, n0, count, k, words, copy);
    for (int64_t p = 0; p < rows; p += kTileColumns)
      multiply<Math>({sums + p, kBlockM, k > 0}, weights, count, x.panel(m + p, k),
                     rows - p < kTileColumns ? round_up(rows - p, kLanes) : kTileColumns, words);
  }
  write_out<E, W>(a, sums, x.m0 + m, rows, n0, count);
}

template <class Math, class E, class W>
inline opswap_status gemm_packed(const linear_args &a, const PackedX &x) {
  const int64_t across = (x.count + kBlockM - 1) / kBlockM, blocks = (a.N + kBlockN - 1) / kBlockN;
  return parallel_try(blocks * across, 1, [&](int64_t begin, int64_t end) {
    float *sums = static_cast<float *>(scratch(1, size_t(kBlockN * (kBlockM + kBlockK)) * sizeof(float)));
    if (!sums) return false;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n0 = task / across * kBlockN, m = task % across * kBlockM;
      gemm_block<Math, E, W>(a, x, m, x.count - m < kBlockM ? x.count - m : kBlockM, n0,
                             a.N - n0 < kBlockN ? a.N - n0 : kBlockN, sums);
    }
    return true;
  });
}

template <class Math, class E, class W>
inline opswap_status linear_many(const linear_args &a) {
  const int64_t words = words_of<Math>(a.K);
  int64_t most = kPackBytes / 4 / (words + 1) / kBlockM * kBlockM;
  most = most < kBlockM ? kBlockM : most;
  for (int64_t m0 = 0; m0 < a.M; m0 += most) {
    const int64_t count = a.M - m0 < most ? a.M - m0 : most;
    const size_t bytes = size_t(round_up(count, kTileColumns) * words) * 4 + 64;
    PackedX x{static_cast<uint32_t *>(scratch(0, bytes)), words, m0, count};
    if (!x.data) return fail(OPSWAP_E_MEMORY, "linear: no memory for %zu bytes of packed input", bytes);
    pack_x<Math, E>(a, x);
    if (opswap_status e = gemm_packed<Math, E, W>(a, x)) return e;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
