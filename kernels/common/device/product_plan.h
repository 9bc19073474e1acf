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
static constexpr ProductTile kProductTiles[] = {
    {128, 8, 11, true}, {128, 16, 10, true},  {128, 24, 10, true},  {128, 32, 9, true},  {128, 48, 8, true},
    {128, 64, 8, true}, {128, 128, 6, false}, {128, 256, 4, false}, {64, 128, 8, false},
};
inline constexpr int kProductTileCount = int(sizeof kProductTiles / sizeof *kProductTiles);

// A product as its plan sees it.
struct ProductShape {
  int64_t m, n, row_bytes;  // bytes of K in a row
  int widest = 256;         // columns of a tile; kernels that need registers for more than their sums take fewer
  bool invariant = false;   // no sum may hang on M, so K is never split
  bool pairs = false;       // the kernels know pairs of blocks
  int lowest = 128;         // rows of a tile
};

// What there is to choose of a plan: a tile of kProductTiles, and blocks that share its steps. The rest follows.
struct ProductWay {
  int tile, split;
};

struct ProductPlan {
  int tile;          // of kProductTiles
  int down, across;  // tiles along the first and the second operand
  int band;          // tiles down that are gone through before the next one across
  int steps;         // stages that all of K takes
  int split;         // blocks of a cluster that share a tile's steps
  int pair;          // 2: blocks of a cluster that take two tiles down and share their columns; `down` counts twos then
  int clusters;      // of split * pair blocks each; a cluster takes every clusters-th tile
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
// Of a step where one warpgroup multiplies: nobody has the tensor cores while it adds its products up.
constexpr int64_t kAloneCycles = 90;
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
  const int64_t alone = t.rows == 64 ? kAloneCycles : 0;
  const int64_t tensor = t.rows / 64 * (kStepBytes / 32) * instruction_cycles(t.columns, tensor_clocks) + alone;
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

// How a shape falls into a tile.
struct Cut {
  int64_t loaded, down, across, tiles, steps;
};
constexpr Cut cut_of(const ProductShape &s, const ProductTile &t) {
  const int64_t first = t.swap ? s.n : s.m, second = t.swap ? s.m : s.n;
  const int64_t loaded = (first < t.rows ? first : t.rows) + (second < t.columns ? second : t.columns);
  const int64_t down = up(first, t.rows), across = up(second, t.columns);
  return {loaded, down, across, down * across, up(s.row_bytes, kStepBytes)};
}

// Why M, N >= 1 cannot be planned in this way on `sms` SMs, or nullptr.
constexpr const char *way_fault(const ProductShape &s, int64_t sms, ProductWay way) {
  if (way.tile < 0 || way.tile >= kProductTileCount) return "names a tile that the kernels have not";
  const ProductTile &t = kProductTiles[way.tile];
  if (t.columns > s.widest) return "names a tile that is wider than this kernel's registers hold";
  if (t.rows < s.lowest) return "names a tile of fewer rows than this kernel has";
  if (!t.swap && s.m <= t.rows / 2) return "would leave half of a tile's rows to padding";
  if (way.split == 1) return nullptr;
  if (way.split < 1 || way.split > kMostSplit) return "splits K by another number than 1 to 8";
  if (s.invariant) return "splits K, and batch_invariant asks for sums that do not hang on M";
  if (!splits(t)) return "splits K of a tile whose sums do not fit where a cluster puts them together";
  const Cut cut = cut_of(s, t);
  if (cut.tiles > clusters_at_once(sms, way.split)) return "splits K over more blocks than the card runs at once";
  return cut.steps < kLeastSteps * way.split ? "leaves a block fewer than 4 steps of K" : nullptr;
}

// 2 where two blocks that bring the rows of the second operand together need no more rounds than by themselves.
constexpr int pair_of(const ProductShape &s, int64_t sms, ProductWay way) {
  const ProductTile &t = kProductTiles[way.tile];
  const Cut cut = cut_of(s, t);
  if (!s.pairs || t.swap || way.split > 1 || cut.down < 2 || sms < 2) return 1;
  return up(up(cut.down, 2) * cut.across, clusters_at_once(sms, 2)) <= up(cut.tiles, sms) ? 2 : 1;
}

constexpr int64_t cycles_of(const ProductShape &s, const ProductCard &card, ProductWay way) {
  const ProductTile &t = kProductTiles[way.tile];
  const Cut cut = cut_of(s, t);
  const int64_t shared = pair_of(s, card.sms, way) == 2 ? (s.n < t.columns ? s.n : t.columns) / 2 : 0;
  return cycles(t, cut.loaded - shared, cut.tiles, cut.steps, way.split, card.sms, card.tensor_clocks);
}

// The plan of a way that has no fault.
constexpr ProductPlan plan_of(const ProductShape &s, int64_t sms, ProductWay way) {
  ProductTile t = kProductTiles[way.tile];
  const Cut cut = cut_of(s, t);
  const int pair = pair_of(s, sms, way);
  t.rows *= pair;
  const int down = int(up(cut.down, pair)), across = int(cut.across);
  const int64_t units = int64_t(down) * across, most = clusters_at_once(sms, way.split * pair);
  const int64_t clusters = units < most ? units : most;
  const int band = band_of(t, down, across, s.row_bytes, clusters);
  return {way.tile, down, across, band, int(cut.steps), way.split, pair, int(clusters)};
}

// body(way) for each way to plan a shape on `sms` SMs, smaller tiles first.
template <class Body>
constexpr void each_way(const ProductShape &s, int64_t sms, Body &&body) {
  for (int tile = 0; tile < kProductTileCount; ++tile)
    for (int split = 1; split <= kMostSplit; ++split)
      if (!way_fault(s, sms, {tile, split})) body(ProductWay{tile, split});
}

}  // namespace product

// The way of least cycles for M, N >= 1; of equal ones the first, but rather one whose sums lie as out does.
constexpr ProductWay best_way(const ProductShape &s, const ProductCard &card) {
  ProductWay best{};
  int64_t least = INT64_MAX;
  product::each_way(s, card.sms, [&](ProductWay way) {
    const int64_t taken = product::cycles_of(s, card, way);
    const bool turned_less = kProductTiles[best.tile].swap && !kProductTiles[way.tile].swap;
    if (taken < least || (taken == least && turned_less)) least = taken, best = way;
  });
  return best;
}

constexpr ProductPlan plan_product(const ProductShape &s, const ProductCard &card) {
  return product::plan_of(s, card.sms, best_way(s, card));
}

// The same by SMs alone, which tell an H20 from the others.
constexpr ProductPlan plan_product(int64_t m, int64_t n, int64_t row_bytes, int64_t sms, int widest = 256) {
  ProductCard card = kProductCards[product_card(0, sms)];
  card.sms = int(sms);
  return plan_product({m, n, row_bytes, widest}, card);
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
