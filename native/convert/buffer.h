// Memory for tiles. Buffers outlive jobs: fresh memory costs a page fault for every 4 KiB.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "convert/job.h"

namespace opswap::convert {

class Buffer {
 public:
  Buffer() {
    const std::lock_guard lock(mutex);
    if (!spare.empty()) {
      memory_ = std::move(spare.back());
      spare.pop_back();
    } else {
      memory_.reset(static_cast<uint8_t *>(::operator new[](kTileBytes, std::align_val_t(4096))));
    }
  }
  ~Buffer() {
    const std::lock_guard lock(mutex);
    spare.push_back(std::move(memory_));
  }
  uint8_t *get() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(uint8_t *p) const { ::operator delete[](p, std::align_val_t(4096)); }
  };
  using Memory = std::unique_ptr<uint8_t[], Free>;
  static inline std::mutex mutex;
  static inline std::vector<Memory> spare;
  Memory memory_;
};

}  // namespace opswap::convert
