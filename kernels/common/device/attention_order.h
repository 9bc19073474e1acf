// In which order blocks take tiles of rows. Where rows see keys up to their own, a head's tiles are of any length: its
// longest is followed by its shortest, then by its second longest, so that two that follow each other are about as long
// as any other two, and a block takes such a pair, one after the other. Blocks then neither wait for one that has the
// longest of each head, nor drift apart and read a head's keys when L2 has forgotten them.
#pragma once

#include <cstdint>

namespace opswap {

struct TaskOrder {
  int32_t blocks, tasks;  // tasks of all blocks
  bool pairs;             // without them tasks are taken in turn

  // Where the task lies that a block takes as its own number, blocks apart: of the last tasks, which are fewer than two
  // for each block, the first blocks have pairs.
  constexpr int32_t place(int32_t number) const {
    if (!pairs) return number;
    const int32_t round = number / blocks, block = number % blocks, from = round / 2 * 2 * blocks;
    const int32_t beyond_one = tasks - from - blocks;
    const int32_t two = beyond_one < 0 ? 0 : beyond_one < blocks ? beyond_one : blocks;
    return block < two ? from + 2 * block + round % 2 : from + two + block;
  }
  // Which of a head's tiles, the longest first, lies at a place among them.
  constexpr int32_t tile(int32_t at, int32_t tiles) const {
    if (!pairs) return at;
    return at % 2 ? tiles - 1 - at / 2 : at / 2;
  }
};

}  // namespace opswap
