// Walks the box that a tensor map's copy moves, in chunks of 16 bytes: where each lies in shared and in global memory.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "emulator/async.h"

namespace opswap::emu {

struct Chunk {
  uint32_t smem;  // offset in the box
  char *global;   // of the chunk's first byte; only bytes [from, to) are inside of the tensor
  uint32_t from, to;
};

class BoxWalk {
 public:
  BoxWalk(const TensorMap *map, const int *at, size_t rank);
  uint32_t bytes() const;
  int type() const { return map_.type; }
  void each(const std::function<void(const Chunk &)> &visit) const;
  uint32_t swizzled(uint32_t address) const;

 private:
  TensorMap map_;  // as it was when the copy was issued
  std::vector<int> at_;
};

}  // namespace opswap::emu
