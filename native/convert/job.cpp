#include "convert/job.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "convert/digest.h"
#include "convert/files.h"

namespace opswap::convert {
namespace {

constexpr int64_t kTileBytes = 4 << 20;

constexpr int64_t kMostGroup = 256;

int64_t blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

// Whether tiles become floats before they are encoded.
bool decodes(const Job &job) {
  if (job.scheme == Scheme::copy) return false;
  const bool quantizable = job.element == Element::bf16 || job.element == Element::f16 || job.element == Element::f32;
  return job.scheme == Scheme::bf16 || !quantizable || !job.scales.empty() || job.add != 0;
}

int64_t output_bytes(const Job &job) {
  switch (job.scheme) {
    case Scheme::copy:
      return element_bytes(job.element);
    case Scheme::bf16:
      return 2;
    case Scheme::fp8_block128:
      break;
  }
  return 1;
}

// How a tensor is cut; depends on nothing but the tensor, so digests of tiles can be compared between runs.
struct Cut {
  int64_t rows, columns;  // of a tile
  int64_t across, count;

  explicit Cut(const Job &job) {
    const int64_t stored = element_bytes(job.element), width = decodes(job) ? std::max<int64_t>(4, stored) : stored;
    rows = job.scheme == Scheme::copy   ? 1
           : job.scheme == Scheme::bf16 ? std::clamp<int64_t>(job.rows, 1, kBlock)
                                        : kBlock;
    columns = std::min(job.columns, kTileBytes / (rows * width) / kMostGroup * kMostGroup);
    across = columns == 0 ? 0 : (job.columns + columns - 1) / columns;
    count = across * ((job.rows + rows - 1) / rows);
  }
};

// Buffers outlive jobs: fresh memory costs a page fault for every 4 KiB.
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

// What a tile left behind, kept apart so that sums do not depend on who came first.
struct Done {
  uint64_t source_digest = 0, data_digest = 0;
  Stats stats;
  Found found;
  int64_t differing = 0, first_differing = -1;
};

struct Work {
  const Job &job;
  const Cut cut;
  std::vector<Done> done;
  std::vector<float> scales;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  Failure failure;
  std::atomic<bool> stopped{false};

  explicit Work(const Job &job) : job(job), cut(job), done(size_t(cut.count)) {
    if (job.scheme == Scheme::fp8_block128) scales.resize(size_t(blocks(job.rows) * blocks(job.columns)));
  }
  bool stop(const Failure &why) {
    const std::lock_guard lock(mutex);
    if (!stopped) failure = why;
    stopped = true;
    return false;
  }
};

// Rectangle of a tile: rows and columns of the tensor.
struct Area {
  int64_t row, column, rows, columns;

  Area(const Work &w, int64_t index)
      : row(index / w.cut.across * w.cut.rows),
        column(index % w.cut.across * w.cut.columns),
        rows(std::min(w.cut.rows, w.job.rows - row)),
        columns(std::min(w.cut.columns, w.job.columns - column)) {}
};

// Where a row lies among those of its tensor, whose heads have their halves interleaved.
int64_t paired_row(const Job &job, int64_t row) {
  const int64_t head = job.rows / job.heads, half = head / 2, at = row % head;
  return row - at + at % half * 2 + at / half;
}

// How the bytes of an area lie in a file.
struct Lie {
  int64_t base;
  Group group;
  bool paired = false;
};

// Calls move(memory, bytes, file offset) for each run of the area that is contiguous in the file.
template <class Move>
bool each_run(const Work &w, const Area &a, Lie lie, uint8_t *memory, Move &&move) {
  const bool whole = a.columns == w.job.columns && !lie.paired;
  const auto stored = [&](int64_t elements) { return elements / lie.group.elements * lie.group.bytes; };
  const int64_t runs = whole ? 1 : a.rows, bytes = stored((whole ? a.rows : 1) * a.columns);
  for (int64_t r = 0; r < runs; ++r) {
    const int64_t row = lie.paired ? paired_row(w.job, a.row + r) : a.row + r;
    if (!move(memory + r * bytes, bytes, lie.base + stored(row * w.job.columns + a.column))) return false;
  }
  return true;
}

bool read_area(Work &w, const Area &a, bool from_target, uint8_t *memory) {
  const int file = from_target ? w.job.target : w.job.source;
  const Lie lie = from_target ? Lie{w.job.data_offset, {1, output_bytes(w.job)}}
                              : Lie{w.job.source_offset, group_of(w.job.element), w.job.heads > 0};
  Failure failure;
  const bool ok = each_run(w, a, lie, memory, [&](uint8_t *p, int64_t bytes, int64_t offset) {
    return read_all(file, p, bytes, offset, from_target, failure);
  });
  return ok || w.stop(failure);
}

bool write_area(Work &w, const Area &a, uint8_t *memory) {
  Failure failure;
  const Lie lie{w.job.data_offset, {1, output_bytes(w.job)}};
  const bool ok = each_run(w, a, lie, memory, [&](uint8_t *p, int64_t bytes, int64_t offset) {
    return write_all(w.job.target, p, bytes, offset, failure);
  });
  return ok || w.stop(failure);
}

void compare(const uint8_t *ours, const uint8_t *theirs, int64_t bytes, int64_t base, Done &done) {
  if (std::memcmp(ours, theirs, size_t(bytes)) == 0) return;
  for (int64_t i = 0; i < bytes; ++i) {
    if (ours[i] == theirs[i]) continue;
    if (done.differing++ == 0) done.first_differing = base + i;
  }
}

void decode(const Work &w, const Area &a, const void *stored, uint8_t *floats) {
  const Job &job = w.job;
  const int64_t across = (job.columns + job.scale_columns - 1) / job.scale_columns;
  const float *scales = job.scales.empty() ? nullptr : job.scales.data();
  job.pass->decode({stored, job.element, a.row, a.column, a.rows, a.columns, scales, job.scale_rows, job.scale_columns,
                    across, job.add},
                   reinterpret_cast<float *>(floats));
}

// Computes a tile's output from its elements; returns where it lies.
uint8_t *transform(Work &w, const Area &a, uint8_t *in, uint8_t *out, Done &done) {
  const Pass &pass = *w.job.pass;
  Tile tile{in, a.rows, a.columns, decodes(w.job) ? Element::f32 : w.job.element, w.job.policy};
  switch (w.job.scheme) {
    case Scheme::copy:
      pass.inspect(tile, done.found);
      break;
    case Scheme::bf16:
      pass.round_bf16(static_cast<const float *>(tile.in), reinterpret_cast<uint16_t *>(out), a.rows * a.columns);
      tile.in = out;  // what became infinite by rounding counts as well
      tile.element = Element::bf16;
      pass.inspect(tile, done.found);
      break;
    case Scheme::fp8_block128:
      float *scales = w.scales.data() + a.row / kBlock * blocks(w.job.columns) + a.column / kBlock;
      pass.quantize_fp8(tile, out, scales, done.stats, done.found);
  }
  if (done.found.count > 0) {
    done.found.row += a.row;
    done.found.column += a.column;
  }
  return w.job.scheme == Scheme::copy ? in : out;
}

bool run_tile(Work &w, int64_t index, const Buffer (&memory)[3]) {
  const Area a(w, index);
  Done &done = w.done[size_t(index)];
  const Group group = group_of(w.job.element);
  const int64_t elements = a.rows * a.columns, bytes = elements * output_bytes(w.job);
  if (w.job.mode == Mode::digest) {
    if (!read_area(w, a, true, memory[2].get())) return false;
    done.data_digest = digest_of(memory[2].get(), size_t(bytes));
    return true;
  }
  uint8_t *stored = memory[decodes(w.job) ? 2 : 0].get();
  if (!read_area(w, a, false, stored)) return false;
  done.source_digest = digest_of(stored, size_t(elements / group.elements * group.bytes));
  if (decodes(w.job)) decode(w, a, stored, memory[0].get());
  uint8_t *out = transform(w, a, memory[0].get(), memory[1].get(), done);
  if (done.found.count > 0 && w.job.policy == Nonfinite::refuse) return true;  // the others are still counted
  done.data_digest = digest_of(out, size_t(bytes));
  if (w.job.mode == Mode::write) return write_area(w, a, out);
  if (!read_area(w, a, true, memory[2].get())) return false;
  compare(out, memory[2].get(), bytes, (a.row * w.job.columns + a.column) * output_bytes(w.job), done);
  return true;
}

void work_through(Work &w) {
  try {
    const Buffer memory[3];
    for (int64_t i; !w.stopped && (i = w.next.fetch_add(1)) < w.cut.count;)
      if (!run_tile(w, i, memory)) return;
  } catch (const std::bad_alloc &) {
    w.stop({"allocate", false, ENOMEM, 0});
  }
}

bool move_scales(Work &w, Result &result) {
  if (w.scales.empty()) return true;
  const int64_t bytes = int64_t(w.scales.size() * sizeof(float));
  Failure failure;
  std::vector<float> theirs;
  if (w.job.mode != Mode::write) {
    theirs.resize(w.scales.size());
    if (!read_all(w.job.target, theirs.data(), bytes, w.job.scale_offset, true, failure)) return w.stop(failure);
  }
  if (w.job.mode == Mode::digest) w.scales = std::move(theirs);
  result.scale_digest = digest_of(w.scales.data(), size_t(bytes));
  if (w.job.mode == Mode::write)
    return write_all(w.job.target, w.scales.data(), bytes, w.job.scale_offset, failure) || w.stop(failure);
  if (w.job.mode == Mode::verify)
    for (size_t i = 0; i < theirs.size(); ++i)
      if (std::memcmp(&theirs[i], &w.scales[i], sizeof(float)) != 0) ++result.differing_scales;
  return true;
}

void add(Stats &all, const Stats &one) {
  if (one.elements == 0) return;
  all.smallest_scale = all.elements == 0 ? one.smallest_scale : std::min(all.smallest_scale, one.smallest_scale);
  all.largest_scale = std::max(all.largest_scale, one.largest_scale);
  all.largest_error = std::max(all.largest_error, one.largest_error);
  all.signal += one.signal;
  all.noise += one.noise;
  all.elements += one.elements;
  all.zeros += one.zeros;
  all.flushed += one.flushed;
  all.at_limit += one.at_limit;
  all.zero_blocks += one.zero_blocks;
}

bool comes_first(const Found &a, const Found &b) {
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
    if (done.found.count == 0) continue;
    const int64_t count = result.found.count + done.found.count;
    if (comes_first(done.found, result.found)) result.found = done.found;
    result.found.count = count;
  }
  if (!w.job.scales.empty()) sources.push_back(digest_of(w.job.scales.data(), w.job.scales.size() * sizeof(float)));
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
