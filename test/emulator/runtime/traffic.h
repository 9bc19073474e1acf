// Counts what the warps of a block move. The k-th access that a lane makes at a program point since its warp last met
// belongs to the k-th of the other lanes: together they are one access of the warp, as converged code makes it.
#pragma once

#include <unordered_map>
#include <vector>

#include "emulator/device.h"
#include "emulator/emulator.h"

namespace opswap::emu {

// Sectors of 32 bytes that a launch has touched.
class SectorSet {
 public:
  bool add(uint64_t sector) {  // true when it is new
    const uint64_t page = sector >> 6, bit = uint64_t(1) << (sector & 63);
    if (page != last_page_ || !last_) last_ = &pages_[last_page_ = page];
    const bool added = !(*last_ & bit);
    *last_ |= bit;
    return added;
  }

 private:
  std::unordered_map<uint64_t, uint64_t> pages_;
  uint64_t last_page_ = 0, *last_ = nullptr;
};

struct LaunchTraffic {
  Counters *counters = nullptr;
  SectorSet loaded, stored;
  std::unordered_map<const void *, uint64_t> conflicts;  // of each program point
  const void *worst() const;
  void global(uint64_t address, uint64_t bytes, Access kind);  // of a copy unit: a run of bytes
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
  std::vector<Site> sites_;
  size_t last_ = 0;
};

// Passes in which shared memory serves one access of a warp: lanes in parts of 128 bytes, each part once for every
// further word of the same bank.
uint32_t shared_passes(const uint64_t *address, uint32_t lanes, uint32_t bytes, uint32_t &least);

}  // namespace opswap::emu
