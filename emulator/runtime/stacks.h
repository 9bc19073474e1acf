// Stacks and sanitizer contexts of the fibers, kept by each host thread and used again for every block.
#pragma once

#include <sys/mman.h>

#include <stdexcept>
#include <vector>

#include "race.h"

namespace opswap::emu {

constexpr size_t kStack = 256 << 10;
// Stacks that begin at the same place of a page would share a few sets of the caches.
constexpr size_t kColours = 32, kColour = 4096 + 2 * 64;

// Stacks and sanitizer contexts of this host thread, used again for every block.
struct Resources {
  struct Fiber {
    char *stack;
    void *context, *proxy;
  };
  std::vector<Fiber> fibers;

  Fiber &at(size_t i) {
    while (fibers.size() <= i) {
      void *stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (stack == MAP_FAILED) throw std::runtime_error("emulator: no memory for the stack of a thread");
      fibers.push_back({static_cast<char *>(stack), race::create(), race::create()});
    }
    return fibers[i];
  }
  // A fiber that was left in the middle of a kernel has a call stack that ThreadSanitizer would go on with. The old
  // contexts stay: destroying one complains of what it had not finished.
  void renew(size_t count) {
    for (size_t i = 0; i < count && i < fibers.size(); ++i) {
      fibers[i].context = race::create();
      fibers[i].proxy = race::create();
    }
  }
  ~Resources() {
    for (Fiber &fiber : fibers) munmap(fiber.stack, kStack);
  }
};

}  // namespace opswap::emu
