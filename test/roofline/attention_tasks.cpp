// What prefill's tiles of rows ask memory for, and how long its slowest block has, for test/roofline/attention.py: 16
// bits, heads of 128 features, one of queries for each of keys, and as many new tokens as keys.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "cache.h"
#include "common/device/attention_order.h"

namespace {

using namespace opswap;
using namespace opswap::roofline;

constexpr int64_t kRows = 128, kRowBytes = 256;

struct Prefill {
  int64_t heads, tiles;  // heads of all sequences, and tiles of rows of each, which are as many of keys
  int64_t blocks, causal;
  int64_t section;  // 0: our order; or so many heads, of each its longest tile, then its next
  int64_t waits;    // 0: a block's tasks lie as far apart as there are blocks; 1: who is free takes the next
};

struct Task {
  int64_t head, tile;  // the tile that sees most keys is the first
};
Task task_at(const Prefill &of, int64_t number) {
  const TaskOrder own{int32_t(of.blocks), int32_t(of.heads * of.tiles), of.causal != 0};
  const int32_t place = own.place(int32_t(number)), tiles = int32_t(of.tiles);
  if (!of.section) return {place / tiles, own.tile(place % tiles, tiles)};
  const int64_t from = number / (of.section * of.tiles) * of.section, at = number - from * of.tiles;
  const int64_t wide = std::min(of.section, of.heads - from);
  return {from + at % wide, at / wide};
}

struct Block {
  int64_t number, left;  // tiles of keys
};

// What blocks do that all go at one pace, a tile of keys at a time, a task's last one first.
struct Run {
  const Prefill &of;
  Cache l2;
  std::vector<Block> blocks;
  int64_t next, moved = 0, clocks = 0, done = 0;

  void load(int64_t kind, int64_t piece, int64_t bytes) {
    if (!l2.holds(kind << 60 | piece, bytes)) moved += bytes;
  }
  void start(Block &block, int64_t number) {
    block = {number, 0};
    if (number >= of.heads * of.tiles) return;
    block.left = of.causal ? of.tiles - task_at(of, number).tile : of.tiles;
    load(0, number, kRows * kRowBytes);
  }
  void step(Block &block) {
    load(1, task_at(of, block.number).head << 20 | --block.left, 2 * kRows * kRowBytes);
    ++done;
    if (block.left) return;
    load(2, block.number, kRows * kRowBytes);
    start(block, of.waits ? next++ : block.number + of.blocks);
  }
  void all() {
    for (Block &block : blocks) start(block, &block - blocks.data());
    for (int64_t before = -1; before < done; ++clocks) {
      before = done;
      for (Block &block : blocks)
        if (block.left) step(block);
    }
    --clocks;  // the last one, in which nothing was left
  }
};

}  // namespace

// `what` is a Prefill. Writes the bytes that memory moves with an L2 of so many, the tiles of keys of the block that
// has most, or waits longest, and those of all.
extern "C" void opswap_attention_prefill(const int64_t *what, int64_t l2_bytes, int64_t *found) {
  const Prefill of{what[0], what[1], what[2], what[3], what[4], what[5]};
  Run run{of, Cache(l2_bytes), std::vector<Block>(std::size_t(of.blocks)), of.blocks};
  run.all();
  found[0] = run.moved, found[1] = run.clocks, found[2] = run.done;
}

// The heads that each wave of as many tiles as blocks reads, added up.
extern "C" int64_t opswap_attention_waves(const int64_t *what) {
  const Prefill of{what[0], what[1], what[2], what[3], what[4], what[5]};
  const int64_t all = of.heads * of.tiles;
  int64_t read = 0;
  for (int64_t from = 0; from < all; from += of.blocks) {
    std::vector<int64_t> heads;
    for (int64_t i = from; i < std::min(all, from + of.blocks); ++i) heads.push_back(task_at(of, i).head);
    std::sort(heads.begin(), heads.end());
    read += std::unique(heads.begin(), heads.end()) - heads.begin();
  }
  return read;
}

// Where each of the tasks lies, and which of a head's tiles each place among them is.
extern "C" void opswap_attention_order(int32_t blocks, int32_t tasks, int32_t pairs, int32_t *places, int32_t *tiles) {
  const TaskOrder order{blocks, tasks, pairs != 0};
  for (int32_t i = 0; i < tasks; ++i) places[i] = order.place(i), tiles[i] = order.tile(i, tasks);
}
