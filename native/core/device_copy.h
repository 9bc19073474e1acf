// Copies that a copy engine makes, for memory that kernels cannot reach: one side is in host memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "opswap.h"

namespace opswap {

// Rows of `width` bytes; `pitch` is the distance of two rows in bytes.
struct Rows {
  void *to;
  const void *from;
  int64_t to_pitch, from_pitch, width, count;
};

// On the call's stream; with pageable host memory the call may wait for the copy, which graphs then cannot capture.
opswap_status copy_memory(const opswap_exec &exec, const Rows &rows);

}  // namespace opswap
