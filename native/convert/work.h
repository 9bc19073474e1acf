// The state that the threads of one conversion share: job, tiles still to do, results, and the first failure.
#pragma once

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "convert/cut.h"
#include "convert/planes.h"

namespace opswap::convert {

// What a tile left behind, kept apart so that sums do not depend on who came first.
struct Done {
  uint64_t source_digest = 0, data_digest = 0;
  Stats stats;
  Nonfinites found;
  int64_t differing = 0, first_differing = -1;
  int64_t inexact = 0, first_inexact = -1;
  float amax = 0;
};

// A thread's memory.
struct Scratch {
  const Buffer memory[3];
  std::vector<uint8_t> bytes;
  std::vector<float> scales, zeros;
};

struct Work {
  const Job &job;
  const Cut cut;
  std::vector<Done> done;
  std::vector<float> scales;
  InputFile scale_file, zero_file;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  Failure failure;
  std::atomic<bool> stopped{false};

  explicit Work(const Job &job) : job(job), cut(job), done(size_t(cut.count)) {
    if (job.mode != Mode::measure) scales.resize(size_t(cut.scales));
    if (whole()) scales.assign(1, std::max(job.amax, kSmallestAmax) / kLargestE4m3);
    if (job.mode == Mode::digest) return;
    Failure why;
    if (job.scales && !scale_file.open(job.scales->path, why)) stop(why);
    if (job.zeros && !zero_file.open(job.zeros->path, why)) stop(why);
  }
  bool whole() const { return cut.scales > 0 && job.scheme.block_rows == 0; }
  bool stop(const Failure &why) {
    const std::lock_guard lock(mutex);
    if (!stopped) failure = why;
    stopped = true;
    return false;
  }
};

// Reads a tile, and converts, writes or compares it; false where the work has to stop.
bool run_tile(Work &w, int64_t index, Scratch &scratch);

}  // namespace opswap::convert
