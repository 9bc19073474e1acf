// How a matrix product D[M, N] = input[M, K] * weight[N, K]^T is cut into tiles for the SMs of a card: plain C++,
// worked out on the host before the launch. Tiles are of the product as wgmma sees it, first operand times second:
// those are input and weight, or with `swap` weight and input, so that the 64 rows which wgmma has at least are rows of
// weight where there are few tokens, and tokens fill its columns, of which it may have 8.
#pragma once

#include "common/device/product_card.h"

namespace opswap {

// What there is a kernel for: rows of the first operand, of the second one, and stages of both that shared memory holds
// beside what the way out takes.
struct ProductTile {
  int rows, columns, stages;
  bool swap;
};
inline constexpr ProductTile kProductTiles[] = {
    {128, 8, 11, true}, {128, 16, 10, true}, {128, 24, 10, true},  {128, 32, 9, true},
    {128, 48, 8, true}, {128, 64, 8, true},  {128, 128, 6, false}, {128, 256, 4, false},
};
inline constexpr int kProductTileCount = int(sizeof kProductTiles / sizeof *kProductTiles);

struct ProductPlan {
  int tile;          // of kProductTiles
  int down, across;  // tiles along the first and the second operand
  int band;          // tiles down that are gone through before the next one across
  int steps;         // stages that all of K takes
  int split;         // blocks of a cluster that share a tile's steps
  int clusters;      // of `split` blocks each; a cluster takes every clusters-th tile
};

namespace product {

constexpr int64_t kStepBytes = 128;  // of K, the width of the widest swizzle: a stage has so much of each row
// An instruction has 32 bytes of K. Its 64 rows take N / 2 cycles of the tensor cores (4096 FLOP of 16 bits a clock and
// SM: 989 TFLOP/s, 1830 MHz, 132 SMs), `tensor_clocks` times as many on a card whose are slower, and 16 + N / 4 to read
// both operands at 128 bytes a clock.
constexpr int64_t instruction_cycles(int64_t n, int64_t tensor_clocks = 1) {
  const int64_t tensor = n / 2 * tensor_clocks, read = 16 + n / 4;
  return tensor > read ? tensor : read;
}
// From L2 to one SM: A100's 5120 bytes a clock (its white paper) over H100's SMs, since Hopper's are not published.
constexpr int64_t kL2Bytes = 5120 / 132;
// Until a block's first stage has come: 700 ns of memory at 1.75 GHz. Once more where a cluster puts its sums together.
// Assumed, until a card says otherwise.
constexpr int64_t kFillCycles = 1225;
// Of L2, what stays there until it is read again: each half of H100's 50 MB keeps its own copies, and some streams
// through.
constexpr int64_t kL2Keeps = 20 << 20;
constexpr int kGpcSms = 16;
constexpr int kSwapMost = 64;   // tokens up to which half of 128 rows would be padding
constexpr int kMostSplit = 8;   // blocks of a cluster that every card takes
constexpr int kLeastSteps = 4;  // of a block, where K is split

constexpr int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step; }

// The blocks of a cluster put their sums together in the ring's part for the first operand.
constexpr bool splits(const ProductTile &t) { return t.columns * 4 <= t.stages * kStepBytes; }

// What the slowest SM takes, in clocks; a tile has at most `loaded` rows of both operands that are not padding. Where a
// cluster puts its sums together, each block reads as many as a tile has.
constexpr int64_t cycles(const ProductTile &t, int64_t loaded, int64_t tiles, int64_t steps, int64_t split, int64_t sms,
                         int tensor_clocks) {
  const int64_t tensor = t.rows / 64 * (kStepBytes / 32) * instruction_cycles(t.columns, tensor_clocks);
  const int64_t loads = loaded * kStepBytes / kL2Bytes;
  const int64_t step = tensor > loads ? tensor : loads;
  const int64_t together = split > 1 ? kFillCycles + int64_t(t.rows) * t.columns * 4 / kL2Bytes : 0;
  return up(tiles * split, sms) * (up(steps, split) * step + kFillCycles) + together;
}

// Blocks of a cluster share a GPC, which has 16 SMs or 18 on H100.
constexpr int64_t clusters_at_once(int64_t sms, int64_t split) {
  const int64_t found = sms / kGpcSms * (kGpcSms / split) + sms % kGpcSms / split;
  return found > 1 ? found : 1;
}

// The band for which the whole product asks memory for the fewest rows of both operands; of equal ones that which
// `at_once` tiles side by side read the fewest rows for. They ask for each of their rows once, and what is read again
// by later ones is still in L2 where it is little enough.
constexpr int band_of(const ProductTile &t, int down, int across, int64_t row_bytes, int64_t at_once) {
  const int64_t first = int64_t(down) * t.rows, second = int64_t(across) * t.columns;
  int best = 1;
  int64_t least = INT64_MAX, least_at_once = INT64_MAX;
  for (int band = 1; band <= down && band <= at_once; ++band) {
    const int64_t rows = int64_t(band) * t.rows, columns = up(at_once, band) * t.columns;
    const int64_t times = rows * row_bytes <= kL2Keeps ? 1 : up(int64_t(band) * across, at_once);
    const int64_t bands = (rows + second) * row_bytes <= kL2Keeps ? 1 : up(down, band);
    const int64_t read = first * times + second * bands;
    if (read > least || (read == least && rows + columns >= least_at_once)) continue;
    least = read, least_at_once = rows + columns, best = band;
  }
  return best;
}

}  // namespace product

// The plan of least cycles for M, N >= 1 on `sms` SMs; of equal ones the first, which has the smaller tile. Kernels
// that need registers for more than their sums take tiles of at most `widest` columns.
constexpr ProductPlan plan_product(int64_t m, int64_t n, int64_t row_bytes, int64_t sms, int widest = 256) {
  using namespace product;
  ProductPlan best{};
  int64_t least = INT64_MAX;
  const int64_t steps = up(row_bytes, kStepBytes);
  const int tensor_clocks = kProductCards[product_card(0, sms)].tensor_clocks;
  for (int i = 0; i < kProductTileCount; ++i) {
    const ProductTile &t = kProductTiles[i];
    if (t.columns > widest || (!t.swap && m <= kSwapMost)) continue;
    const int64_t first = t.swap ? n : m, second = t.swap ? m : n;
    const int64_t loaded = (first < t.rows ? first : t.rows) + (second < t.columns ? second : t.columns);
    const int64_t down = up(first, t.rows), across = up(second, t.columns), tiles = down * across;
    for (int split = 1; split <= kMostSplit; ++split) {
      const int64_t most = clusters_at_once(sms, split);
      if (split > 1 && (!splits(t) || tiles > most || steps < kLeastSteps * split)) break;
      const int64_t taken = cycles(t, loaded, tiles, steps, split, sms, tensor_clocks);
      if (taken >= least) continue;
      const int64_t clusters = tiles < most ? tiles : most;
      least = taken;
      best = {i,          int(down), int(across),  band_of(t, int(down), int(across), row_bytes, clusters),
              int(steps), split,     int(clusters)};
    }
  }
  return best;
}

struct TileAt {
  int down, across;
};

// Where tile `number` lies: bands one after the other, in each of them down before across.
constexpr TileAt tile_at(const ProductPlan &plan, int number) {
  const int whole = plan.band * plan.across, first = number / whole * plan.band, left = number % whole;
  const int height = plan.down - first < plan.band ? plan.down - first : plan.band;
  return {first + left % height, left / height};
}

// The first of the steps of part `rank` of `split`; the last is before that of the next part.
constexpr int first_step(const ProductPlan &plan, int rank) { return int(int64_t(plan.steps) * rank / plan.split); }

}  // namespace opswap
