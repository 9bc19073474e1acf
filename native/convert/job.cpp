// Runs the conversion of one tensor: threads take its tiles; afterwards scales are written or compared, statistics
// added up.
#include "convert/job.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "convert/digest.h"
#include "convert/files.h"
#include "convert/work.h"

namespace opswap::convert {
namespace {

void work_through(Work &w) {
  try {
    Scratch scratch;
    for (int64_t i; !w.stopped && (i = w.next.fetch_add(1)) < w.cut.count;)
      if (!run_tile(w, i, scratch)) return;
  } catch (const std::bad_alloc &) {
    w.stop({"allocate", false, ENOMEM, 0, {}});
  }
}

// Scales as the file has them; they are bf16 numbers where that is its type.
std::vector<uint8_t> scale_bytes(const Work &w) {
  const int64_t width = element_bytes(w.job.scheme.scale), align = w.job.scheme.scale_align;
  const int64_t across = w.cut.scales_across, filled = parts(across, align) * align;
  const int64_t rows = int64_t(w.scales.size()) / std::max<int64_t>(across, 1);
  std::vector<uint8_t> bytes(size_t(rows * filled * width));
  for (int64_t i = 0; i < int64_t(w.scales.size()); ++i)  // the upper half of a float is its bf16
    std::memcpy(&bytes[size_t((i / across * filled + i % across) * width)],
                reinterpret_cast<const uint8_t *>(&w.scales[size_t(i)]) + 4 - width, size_t(width));
  return bytes;
}

bool move_scales(Work &w, Result &result) {
  if (w.scales.empty() || w.job.mode == Mode::weigh) return true;
  std::vector<uint8_t> ours = scale_bytes(w), theirs;
  const int64_t bytes = int64_t(ours.size()), width = element_bytes(w.job.scheme.scale);
  Failure failure;
  if (w.job.mode != Mode::write) {
    theirs.resize(ours.size());
    if (!read_all(w.job.target, theirs.data(), bytes, w.job.scale_offset, true, failure)) return w.stop(failure);
  }
  if (w.job.mode == Mode::digest) ours = std::move(theirs);
  result.scale_digest = digest_of(ours.data(), size_t(bytes));
  if (w.job.mode == Mode::write)
    return write_all(w.job.target, ours.data(), bytes, w.job.scale_offset, failure) || w.stop(failure);
  if (w.job.mode == Mode::verify)
    for (int64_t i = 0; i < bytes; i += width)
      if (std::memcmp(&theirs[size_t(i)], &ours[size_t(i)], size_t(width)) != 0) ++result.differing_scales;
  return true;
}

void add(Stats &all, const Stats &one) {
  if (one.elements == 0) return;
  all.smallest_scale = all.elements == 0 ? one.smallest_scale : std::min(all.smallest_scale, one.smallest_scale);
  all.largest_scale = std::max(all.largest_scale, one.largest_scale);
  all.largest_error = std::max(all.largest_error, one.largest_error);
  all.signal += one.signal;
  all.noise += one.noise;
  all.weighted += one.weighted;
  all.elements += one.elements;
  all.zeros += one.zeros;
  all.flushed += one.flushed;
  all.at_limit += one.at_limit;
  all.zero_blocks += one.zero_blocks;
}

bool comes_first(const Nonfinites &a, const Nonfinites &b) {
  return b.count == 0 || a.row < b.row || (a.row == b.row && a.column < b.column);
}

void collect(const Work &w, Result &result) {
  std::vector<uint64_t> sources, data;
  for (const Done &done : w.done) {
    sources.push_back(done.source_digest);
    data.push_back(done.data_digest);
    add(result.stats, done.stats);
    result.differing += done.differing;
    if (done.first_differing >= 0 && (result.first_differing < 0 || done.first_differing < result.first_differing))
      result.first_differing = done.first_differing;
    if (result.inexact == 0) result.first_inexact = done.first_inexact;
    result.inexact += done.inexact;
    result.amax = std::max(result.amax, done.amax);
    if (done.found.count == 0) continue;
    const int64_t count = result.found.count + done.found.count;
    if (comes_first(done.found, result.found)) result.found = done.found;
    result.found.count = count;
  }
  if (w.job.mode != Mode::digest) result.source_digest = digest_of(sources.data(), sources.size() * 8);
  result.data_digest = digest_of(data.data(), data.size() * 8);
}

}  // namespace

Result run(const Job &job) {
  Result result;
  Work w(job);
  std::vector<std::thread> helpers;
  const int64_t wanted = std::min<int64_t>(job.threads, w.cut.count);
  try {
    for (int64_t i = 1; i < wanted; ++i) helpers.emplace_back([&w] { work_through(w); });
  } catch (const std::system_error &) {
    // Fewer threads do the same work.
  }
  work_through(w);
  for (std::thread &helper : helpers) helper.join();
  if (!w.stopped) collect(w, result);
  const bool refused = result.found.count > 0 && job.policy == Nonfinite::refuse;
  if (!w.stopped && !refused) move_scales(w, result);
  result.failure = w.failure;
  return result;
}

}  // namespace opswap::convert
