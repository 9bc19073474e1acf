// Rows of words that are copied to and from places of the kernel's choice: what copy, concat, select and
// reshape_and_cache are on a device.
#pragma once

#include "common/device/access.h"
#include "common/sm90/launch.h"

namespace opswap::device {

constexpr int kCopyThreads = 256;
constexpr int kCopyHeld = 4;             // words of a thread that are on their way at once
constexpr int64_t kCopyBlocksPerSm = 4;  // 64 KB on their way in an SM

// One row. No `to`: it is skipped. No `from`: it becomes zeros.
template <class Word>
struct RowCopy {
  Word *to;
  const Word *from;
  int64_t to_step = 1, from_step = 1;  // from one word to the next
};

// A block is `x` words wide and `y` rows high; row_of(row) gives the row's RowCopy.
template <class Word, class RowOf>
OPSWAP_DEVICE void copy_rows(int64_t rows, int64_t words, RowOf &&row_of) {
  const int64_t width = int64_t(blockDim.x) * kCopyHeld;
  const int64_t columns = ceil_div(words, width), tiles = ceil_div<int64_t>(rows, blockDim.y) * columns;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t row = tile / columns * blockDim.y + threadIdx.y, first = tile % columns * width + threadIdx.x;
    if (row >= rows) continue;
    const RowCopy<Word> r = row_of(row);
    if (!r.to) continue;
    Vec<Word, 1> x[kCopyHeld] = {};
#pragma unroll
    for (int k = 0; k < kCopyHeld; ++k) {
      const int64_t at = first + k * int64_t(blockDim.x);
      if (r.from && at < words) x[k] = load<1>(r.from + at * r.from_step);
    }
#pragma unroll
    for (int k = 0; k < kCopyHeld; ++k) {
      const int64_t at = first + k * int64_t(blockDim.x);
      if (at < words) store(r.to + at * r.to_step, x[k]);
    }
  }
}

// Geometry for rows of at most `words` words of `bytes`: lanes of a row read 128 bytes or more together.
inline Geometry copy_geometry(const opswap_exec &exec, int64_t rows, int64_t words, int64_t bytes) {
  const int64_t least = std::min(power_of_two(words), std::min<int64_t>(kWarp, 128 / bytes));
  const int64_t lanes = std::clamp<int64_t>(power_of_two(ceil_div<int64_t>(words, kCopyHeld)), least, kCopyThreads);
  const int64_t lines = kCopyThreads / lanes;
  const int64_t tiles = ceil_div(rows, lines) * ceil_div(words, lanes * kCopyHeld);
  return {.grid = {std::min(tiles, sms_of(exec) * kCopyBlocksPerSm)}, .block = {lanes, lines}, .pdl = true};
}

}  // namespace opswap::device
