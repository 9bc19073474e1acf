// Many rows of a product (product.h): the input is packed with its rows in the lanes. A task takes its weights piece by
// piece along K, from where they lie where they are words already, else decoded into a buffer that stays in the caches,
// multiplies them with every panel, and adds that to its sums. They are tiles of out^T, turned when they are written.
#pragma once

#include "common/op.h"
#include "common/product_few.h"
#include "common/rows.h"
#include "common/tile.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kTaskM = 256;  // rows of the input whose sums one task keeps

// Rows of weights of one task; whole tiles of 6 or 8 rows, or the 64 that share factors.
template <class Job>
constexpr int64_t kTaskN = Job::kFactors ? 64 : 96;
// Outputs of a task: with two parts it has half as many of each.
template <class Job>
constexpr int64_t kTaskOutputs = kTaskN<Job> / Job::kParts;

// Words of a decoded piece: a block, or so many that a panel of that depth stays in the L2 cache.
template <class Math, class Job>
constexpr int64_t kPieceWords = Job::kFactors ? kBlock / Math::kPerWord : 256;

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

// to = a row of x in words, in the order in which W is decoded.
template <class Math, class W, class X>
inline void words_like(uint32_t *to, const X *x, int64_t n) {
  for (int64_t i = 0; i < n; i += kStepElements<Math, W>, to += kStepElements<Math, W> / Math::kPerWord) {
    vu words[WeightWords<Math, W>::kVectors];
    step_like<Math, W>(words, x + i, n - i);
    std::memcpy(to, words, sizeof words);
  }
}

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
        words_like<Math, WeightOf<Job>>(wide + l * x.words, job.input(x.m0 + m + l), job.K);
        rows[l] = reinterpret_cast<const Stored *>(wide + l * x.words);
      }
      pack_rows<Math>(x.data + panel * x.words + (m - panel), x.width(), rows, x.words * Math::kPerWord);
    }
    return true;
  });
}

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

// Whether rows of weights already are rows of words.
template <class Math, class Job>
constexpr bool words_in_place(const Job &job) {
  return is_words<Math, WeightOf<Job>> && job.K % Math::kPerWord == 0;
}

// Words [k, k + words) of `count` rows of weights: where they lie, or decoded into `copy`.
template <class Math, class Job>
inline Rows piece_of(const Job &job, int part, int64_t n0, int64_t count, int64_t k, int64_t words, uint32_t *copy) {
  using W = WeightOf<Job>;
  const int64_t from = k * Math::kPerWord, end = (k + words) * Math::kPerWord, last = end < job.K ? end : job.K;
  if (words_in_place<Math>(job))
    return {reinterpret_cast<const char *>(job.weight(part, n0) + from), job.weight_stride(part) * int64_t(sizeof(W))};
  const int64_t ahead = 2 * job.weight_stride(part) * int64_t(sizeof(W));
  for (int64_t i = 0; i < count; ++i)
    for (int64_t e = from; e < last; e += kBlock) {
      const W *p = job.weight(part, n0 + i) + e;
      ask_ahead<kBlock * sizeof(W)>(p, ahead);
      decode_block<Math>(copy + i * kPieceWords<Math, Job> + (e - from) / Math::kPerWord, p,
                         last - e < kBlock ? last - e : kBlock);
    }
  return {reinterpret_cast<const char *>(copy), kPieceWords<Math, Job> * 4};
}

// A task: outputs [n0, n0 + count) of rows [m, m + rows) of the packed input; work is sums, factors, a decoded piece.
template <class Math, class Job>
inline void many_task(const Job &job, const Packed &x, int64_t m, int64_t rows, int64_t n0, int64_t count,
                      float *work) {
  float *factor = work + kTaskN<Job> * kTaskM;
  uint32_t *copy = reinterpret_cast<uint32_t *>(factor + kTaskM);
  // A narrow panel may be deeper, so that weights in place stream in longer runs.
  const bool deeper = !Job::kFactors && words_in_place<Math>(job);
  const int64_t depth = kPieceWords<Math, Job> * (deeper ? kTileColumns / x.width() : 1);
  if (!x.words) std::memset(work, 0, kTaskN<Job> * kTaskM * sizeof(float));
  for (int64_t k = 0; k < x.words; k += depth) {
    const int64_t words = x.words - k < depth ? x.words - k : depth;
    if constexpr (Job::kFactors)
      for (int64_t i = 0; i < round_up(rows, kLanes); ++i)
        factor[i] = i < rows ? job.factor(x.m0 + m + i, n0, k / depth) : 0.0f;
    for (int p = 0; p < Job::kParts; ++p) {
      const Rows weights = piece_of<Math>(job, p, n0, count, k, words, copy);
      float *sums = work + p * kTaskOutputs<Job> * kTaskM;
      for (int64_t c = 0; c < rows; c += kTileColumns) {
        const int64_t columns = rows - c < kTileColumns ? round_up(rows - c, kLanes) : kTileColumns;
        if constexpr (Job::kFactors)
          multiply<Math>(ScaledOut{sums + c, kTaskM, factor + c, k > 0}, weights, count, x.panel(m + c, k), columns,
                         words);
        else
          multiply<Math>(Out{sums + c, kTaskM, k > 0}, weights, count, x.panel(m + c, k), columns, words);
      }
    }
  }
  many_write(job, work, x.m0 + m, rows, n0, count);
}

template <class Math, class Job>
inline opswap_status many_packed(const Job &job, const Packed &x, int64_t grain) {
  constexpr int64_t kOutputs = kTaskOutputs<Job>;
  const int64_t across = (x.count + kTaskM - 1) / kTaskM, blocks = (job.N + kOutputs - 1) / kOutputs;
  return parallel_try(blocks * across, grain, [&](int64_t begin, int64_t end) {
    const int64_t floats = kTaskN<Job> * kTaskM + kTaskM + kTaskN<Job> * kPieceWords<Math, Job>;
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
  const int64_t words = words_in_place<Math>(job)
                            ? job.K / Math::kPerWord
                            : round_up(job.K, kStepElements<Math, WeightOf<Job>>) / Math::kPerWord;
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
