// The wall clock of records.
#pragma once

#include <chrono>
#include <cstdint>

namespace opswap {

// Nanoseconds since 1970.
inline int64_t unix_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace opswap
