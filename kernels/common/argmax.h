// Index of the largest score of each row, ties to the lower index, NaN as -inf; rows are split over threads when there
// are few.
#pragma once

#include "common/op.h"
#include "common/vec.h"

namespace opswap::OPSWAP_ISA {

struct Best {
  float score;
  int64_t index;
};

inline Best better(Best a, Best b) {
  if (a.score != b.score) return a.score > b.score ? a : b;
  return a.index <= b.index ? a : b;
}

// scores(v, left): kLanes scores from column v on; with left > 0 only that many exist and the rest are -inf.
template <class Scores>
inline Best argmax_range(int64_t begin, int64_t end, Scores &&scores) {
  vf best = splat(-__builtin_inff());
  vi at = {};
  const auto take = [&](vf v, int64_t i) {
    const vi better_lane = v > best;
    best = better_lane ? v : best;
    at = better_lane ? (vi{} + int32_t((i - begin) / kLanes)) : at;
  };
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) take(scores(i, 0), i);
  if (i < end) take(scores(i, end - i), i);
  Best result{-__builtin_inff(), begin};
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t index = begin + int64_t(at[lane]) * kLanes + lane;
    if (index < end) result = better(result, {best[lane], index});
  }
  return result;
}

// token_ids[b] for B rows of V columns; make(b) gives the row's `scores`.
template <class Make>
inline opswap_status argmax_rows(const Tensor &token_ids, int64_t rows, int64_t columns, Make &&make) {
  constexpr int64_t kChunk = 4096;  // columns of one task; a multiple of kLanes
  const int64_t chunks = (columns + kChunk - 1) / kChunk;
  Best *parts = static_cast<Best *>(scratch(0, size_t(rows * chunks) * sizeof(Best)));
  if (!parts && rows)
    return fail(OPSWAP_E_MEMORY, "sampling: no memory for %lld partial results", (long long)(rows * chunks));
  parallel_for(rows * chunks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t from = p % chunks * kChunk, to = from + kChunk < columns ? from + kChunk : columns;
      parts[p] = argmax_range(from, to, make(p / chunks));
    }
  });
  for (int64_t b = 0; b < rows; ++b) {
    Best best = parts[b * chunks];
    for (int64_t c = 1; c < chunks; ++c) best = better(best, parts[b * chunks + c]);
    token_ids.as<int64_t>()[b * token_ids.stride[0]] = best.index;
  }
  return OPSWAP_OK;
}

}  // namespace opswap::OPSWAP_ISA
