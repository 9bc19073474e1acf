// The block's asynchronous unit of a kind, made when it is first used; odd seeds make copies late, seed bit 1 products.
#pragma once

#include "block.h"

namespace opswap::emu {

// ThreadSanitizer's view of a unit; kept between blocks, since it has few of them.
class Context {
 public:
  Context();
  ~Context();
  Context(const Context &) = delete;
  void enter() const { race::enter(context_); }

 private:
  void *context_;
};

template <class Unit>
Unit &unit(uint64_t late_bit) {
  for (auto &owned : block().units)
    if (auto *found = dynamic_cast<Unit *>(owned.get())) return *found;
  auto made = std::make_unique<Unit>();
  Unit &result = *made;
  result.late = options().seed >> late_bit & 1;
  block().units.push_back(std::move(made));
  return result;
}
inline constexpr uint64_t kLateCopies = 0, kLateProducts = 1;

}  // namespace opswap::emu
