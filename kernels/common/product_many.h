// Many rows of a product (product.h): the input is packed with its rows in the lanes. A task decodes one block of
// weights at a time into a buffer that stays in the L1 cache, multiplies it with every panel, and adds the product to
// its sums times the block's factors.
#pragma once

#include "common/fp8_words.h"
#include "common/op.h"
#include "common/rows.h"
#include "common/tile.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kTaskN = 64;   // rows of weights of one task
constexpr int64_t kTaskM = 256;  // rows of the input whose sums one such task keeps
constexpr int64_t kPackBytes = 8 << 20;

// What multiply() does with a tile's sums: times the factor of their column, added to what is there.
struct ScaledOut {
  float *data;  // [r][stride]
  int64_t stride;
  const float *factor;  // of each column
  bool add;
  ScaledOut at(int64_t row, int64_t column) const {
    return {data + row * stride + column, stride, factor + column, add};
  }
  vf before(int, int) const { return vf{}; }
  void after(int r, int v, vf sum) const {
    float *p = data + r * stride + v * kLanes;
    const vf scaled = sum * load(factor + v * kLanes);
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

template <class Math, class Job>
inline opswap_status pack(const Job &job, const Packed &x) {
  using Stored = typename Math::Stored;
  return parallel_try(x.columns() / kLanes, rows_per_task(job.K * kLanes), [&](int64_t begin, int64_t end) {
    uint32_t *wide = static_cast<uint32_t *>(scratch(1, size_t(kLanes * x.words + 16) * 4));
    if (!wide) return false;
    for (int64_t group = begin; group < end; ++group) {
      const int64_t m = group * kLanes, panel = m / x.width() * x.width();
      const Stored *rows[kLanes] = {};
      for (int l = 0; l < kLanes && m + l < x.count; ++l) {
        widen_row<Math>(wide + l * x.words, job.input(x.m0 + m + l), job.K);
        rows[l] = reinterpret_cast<const Stored *>(wide + l * x.words);
      }
      pack_rows<Math>(x.data + panel * x.words + (m - panel), x.width(), rows, x.words * Math::kPerWord);
    }
    return true;
  });
}

// Outputs of a task: with two parts it has half as many of each.
template <class Job>
constexpr int64_t kTaskOutputs = kTaskN / Job::kParts;

// Sums [part][kTaskOutputs][kTaskM], of which `count` x `rows` are wanted, turned and handed to the job.
template <class Job>
inline void many_write(const Job &job, const float *sums, int64_t m0, int64_t rows, int64_t n0, int64_t count) {
  for (int64_t n = 0; n < count; n += kLanes) {
    const int64_t width = count - n < kLanes ? count - n : kLanes;
    for (int64_t m = 0; m < rows; m += kLanes) {
      vf block[Job::kParts][kLanes];
      for (int p = 0; p < Job::kParts; ++p) {
        for (int l = 0; l < kLanes; ++l) block[p][l] = load(sums + (p * kTaskOutputs<Job> + n + l) * kTaskM + m);
        transpose(block[p]);
      }
      for (int l = 0; l < kLanes && m + l < rows; ++l) {
        vf of[Job::kParts];
        for (int p = 0; p < Job::kParts; ++p) of[p] = block[p][l];
        job.write(m0 + m + l, n0 + n, of, width);
      }
    }
  }
}

// Rows of weights [n0, n0 + count) against rows [m, m + rows) of the packed input; work is sums, then a decoded block.
template <class Math, class Job>
inline void many_task(const Job &job, const Packed &x, int64_t m, int64_t rows, int64_t n0, int64_t count,
                      float *work) {
  constexpr int64_t kWords = kBlock / Math::kPerWord;
  float *sums = work, *factor = work + kTaskN * kTaskM;
  uint32_t *decoded = reinterpret_cast<uint32_t *>(factor + kTaskM);
  if (job.blocks == 0) std::memset(sums, 0, kTaskN * kTaskM * sizeof(float));
  for (int64_t b = 0; b < job.blocks; ++b) {
    for (int64_t i = 0; i < round_up(rows, kLanes); ++i) factor[i] = i < rows ? job.factor(x.m0 + m + i, n0, b) : 0.0f;
    for (int p = 0; p < Job::kParts; ++p) {
      for (int64_t i = 0; i < count; ++i) {
        vu words[kBlockVectors<Math>];
        job.template weight<Math>(words, p, n0 + i, b);
        std::memcpy(decoded + i * kWords, words, sizeof words);
      }
      float *of = sums + p * kTaskOutputs<Job> * kTaskM;
      for (int64_t c = 0; c < rows; c += kTileColumns)
        multiply<Math>(ScaledOut{of + c, kTaskM, factor + c, b > 0},
                       Rows{reinterpret_cast<const char *>(decoded), kWords * 4}, count,
                       x.panel(m + c, job.input_block(b) * kWords),
                       rows - c < kTileColumns ? round_up(rows - c, kLanes) : kTileColumns, kWords);
    }
  }
  many_write(job, sums, x.m0 + m, rows, n0, count);
}

template <class Math, class Job>
inline opswap_status many_packed(const Job &job, const Packed &x, int64_t grain) {
  constexpr int64_t kOutputs = kTaskOutputs<Job>;
  const int64_t across = (x.count + kTaskM - 1) / kTaskM, blocks = (job.N + kOutputs - 1) / kOutputs;
  return parallel_try(blocks * across, grain, [&](int64_t begin, int64_t end) {
    const int64_t floats = kTaskN * kTaskM + kTaskM + kTaskN * kBlock;
    float *work = static_cast<float *>(scratch(1, size_t(floats) * sizeof(float)));
    if (!work) return false;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n0 = task / across * kOutputs, m = task % across * kTaskM;
      many_task<Math>(job, x, m, x.count - m < kTaskM ? x.count - m : kTaskM, n0,
                      job.N - n0 < kOutputs ? job.N - n0 : kOutputs, work);
    }
    return true;
  });
}

template <class Math, class Job>
inline opswap_status product_many(const Job &job, int64_t grain) {
  const int64_t words = whole_blocks(job.K) / Math::kPerWord;
  int64_t most = kPackBytes / 4 / (words + 1) / kTaskM * kTaskM;
  most = most < kTaskM ? kTaskM : most;
  for (int64_t m0 = 0; m0 < job.M; m0 += most) {
    const int64_t count = job.M - m0 < most ? job.M - m0 : most;
    const size_t bytes = size_t(round_up(count, kTileColumns) * words) * 4 + 64;
    const Packed x{static_cast<uint32_t *>(scratch(0, bytes)), words, m0, count};
    if (!x.data) return fail(OPSWAP_E_MEMORY, "%s: no memory for %zu bytes of packed input", Job::kOp, bytes);
    if (opswap_status e = pack<Math>(job, x)) return e;
    if (opswap_status e = many_packed<Math>(job, x, grain)) return e;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
