// Keeps what the kernels in front in the stream read and wrote, so that a launch that does not wait for them is found
// out.
#include "stream.h"

#include <algorithm>

#include "block.h"

namespace opswap::emu {
namespace {

struct State {
  bool open = false;
  std::vector<Touched> in_front;
};
thread_local State stream;

}  // namespace

void Ranges::add(uint64_t begin, uint64_t bytes) {
  if (!ranges_.empty() && ranges_.back().end == begin) {
    ranges_.back().end += bytes;
    return;
  }
  sorted_ = sorted_ && (ranges_.empty() || ranges_.back().end <= begin);
  ranges_.push_back({begin, begin + bytes});
}

void Ranges::sort() {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range &a, const Range &b) { return a.begin < b.begin; });
  size_t kept = 0;
  for (const Range &range : ranges_)
    if (kept && range.begin <= ranges_[kept - 1].end)
      ranges_[kept - 1].end = std::max(ranges_[kept - 1].end, range.end);
    else
      ranges_[kept++] = range;
  ranges_.resize(kept);
  sorted_ = true;
}

bool Ranges::meet(uint64_t begin, uint64_t bytes) {
  if (!sorted_) sort();
  const auto behind = [](const Range &range, uint64_t at) { return range.end <= at; };
  const auto at = std::lower_bound(ranges_.begin(), ranges_.end(), begin, behind);
  return at != ranges_.end() && at->begin < begin + bytes;
}

Stream::Stream() { stream.open = true; }
Stream::~Stream() { stream = {}; }

void in_front(const void *p, uint64_t bytes) {
  if (!p) return stream.in_front.clear();
  if (stream.in_front.empty()) stream.in_front.push_back({"the kernel in front", {}, {}});
  stream.in_front.front().read.add(reinterpret_cast<uint64_t>(p), bytes);
  stream.in_front.front().written.add(reinterpret_cast<uint64_t>(p), bytes);
}

bool stream_is_open() { return stream.open; }

Dependency start_in_stream(const char *kernel, bool programmatic) {
  Dependency d;
  if (programmatic) d.in_front = std::move(stream.in_front);
  stream.in_front.clear();
  d.programmatic = programmatic && !d.in_front.empty();
  d.let_only = d.programmatic;
  d.touched.kernel = kernel;
  return d;
}

std::string end_in_stream(Dependency &&d) {
  if (d.programmatic && !d.waited)
    return d.touched.kernel +
           ": programmatic launch: no thread called dependency_wait(), so that what waits for this "
           "kernel would not wait for " +
           d.in_front.back().kernel;
  if (d.let_only) stream.in_front = std::move(d.in_front);
  stream.in_front.push_back(std::move(d.touched));
  return "";
}

void check_in_front(const void *p, uint64_t bytes, Access kind) {
  const auto begin = reinterpret_cast<uint64_t>(p);
  const bool reads = kind == Access::kLoad;
  for (Touched &kernel : block().dependency->in_front) {
    const bool written = kernel.written.meet(begin, bytes);
    if (!written && (reads || !kernel.read.meet(begin, bytes))) continue;
    fail("programmatic launch: %s %llu bytes at %p before dependency_wait(), which %s %s", reads ? "reads" : "writes",
         static_cast<unsigned long long>(bytes), p, kernel.kernel.c_str(), written ? "writes" : "reads");
  }
}

void dependency_wait() {
  Thread &t = self();
  t.early = false;
  if (Dependency *d = t.owner->dependency) d->waited = t.owner->waited = true;
}

void dependency_trigger() {
  Thread &t = self();
  if (!t.owner->triggered && t.early) t.owner->let_early = true;
  t.owner->triggered = true;
}

}  // namespace opswap::emu

void opswap_emulator_in_front(const void *p, uint64_t bytes) { opswap::emu::in_front(p, bytes); }
