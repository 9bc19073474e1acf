// Counts what the warps of a block move. The k-th access that a lane makes at a program point since its warp last met
// belongs to the k-th of the other lanes: together they are one access of the warp, as converged code makes it.
#pragma once

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <vector>

#include "emulator/device.h"
#include "emulator/emulator.h"
#include "stream.h"

namespace opswap::emu {

// Sectors of 32 bytes that a launch has touched.
class SectorSet {
 public:
  uint64_t add(uint64_t first, uint64_t last) {  // how many of them are new
    uint64_t added = 0;
    for (uint64_t next; first <= last; first = next) {
      const uint64_t page = first >> 6;
      next = std::min(last, page << 6 | 63) + 1;
      const uint64_t bits = ~uint64_t{0} >> (64 - (next - first)) << (first & 63);
      if (page != last_page_ || !last_) last_ = &pages_[last_page_ = page];
      added += uint64_t(std::popcount(bits & ~*last_));
      *last_ |= bits;
    }
    return added;
  }

 private:
  std::unordered_map<uint64_t, uint64_t> pages_;
  uint64_t last_page_ = 0, *last_ = nullptr;
};

class WarpTraffic;

struct LaunchTraffic {
  Counters *counters = nullptr;
  Touched *touched = nullptr;  // null: no stream
  SectorSet loaded, stored;
  std::unordered_map<const void *, uint64_t> conflicts;  // of each program point
  const void *worst() const;
  void global(uint64_t address, uint64_t bytes, Access kind);  // of a copy unit: a run of bytes
  void sectors(uint64_t first, uint64_t last, Access kind);
  void touch(uint64_t address, uint64_t bytes, Access kind) {
    if (touched) (kind == Access::kLoad ? touched->read : touched->written).add(address, bytes);
  }
  WarpTraffic *warps_of(uint32_t rank, size_t count);  // of the running block of this rank of its cluster

 private:
  std::vector<std::vector<WarpTraffic>> warps_;
};

class WarpTraffic {
 public:
  void add(uint32_t lane, const void *site, uint64_t address, uint32_t bytes, Access kind, bool shared);
  void flush(LaunchTraffic &launch);  // the lanes have met, or have ended
  uint32_t waiting = 0;               // lanes at a barrier of the block

 private:
  struct Group {  // one access of the warp
    uint32_t lanes = 0;
    uint64_t address[32];
  };
  struct Site {
    const void *place;
    uint32_t bytes;
    Access kind;
    bool shared;
    uint32_t made[32]{};  // accesses of each lane
    size_t groups = 0;    // in use
    std::vector<Group> group;
  };
  Site &site_of(const void *place, uint32_t bytes, Access kind, bool shared);
  std::vector<Site> sites_;
  uint8_t likely_[64]{};  // the number of a site that was last at a place of this hash
  bool used_ = false;     // since the last flush
};

// Passes in which shared memory serves one access of a warp: lanes in parts of 128 bytes, each part once for every
// further word of the same bank.
uint32_t shared_passes(const uint64_t *address, uint32_t lanes, uint32_t bytes, uint32_t &least);

}  // namespace opswap::emu
