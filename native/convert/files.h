// Reads and writes all of a run of bytes at an offset of a file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "convert/job.h"

namespace opswap::convert {

bool read_all(int file, void *to, int64_t bytes, int64_t offset, bool on_target, Failure &failure);
// Asks the kernel to start writing back, so that the sync at the end finds little left to do.
bool write_all(int file, const void *from, int64_t bytes, int64_t offset, Failure &failure);

}  // namespace opswap::convert
