#include "convert/job.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "convert/cut.h"
#include "convert/digest.h"
#include "convert/files.h"
#include "convert/recode.h"

namespace opswap::convert {
namespace {

// What a tile left behind, kept apart so that sums do not depend on who came first.
struct Done {
  uint64_t source_digest = 0, data_digest = 0;
  Stats stats;
  Found found;
  int64_t differing = 0, first_differing = -1;
  int64_t inexact = 0, first_inexact = -1;
  float amax = 0;
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
    if (job.mode != Mode::measure) scales.resize(size_t(cut.scales));
    if (whole()) scales.assign(1, std::max(job.amax, kSmallestAmax) / kLargestE4m3);
  }
  bool whole() const { return cut.scales > 0 && job.scheme.block_rows == 0; }
  bool stop(const Failure &why) {
    const std::lock_guard lock(mutex);
    if (!stopped) failure = why;
    stopped = true;
    return false;
  }
};

// Whole bytes of the output.
Group written(const Job &job) {
  const int64_t bits = job.scheme.bits(job.element);
  return bits % 8 == 0 ? Group{1, bits / 8} : Group{8 / bits, 1};
}

// Where a row lies among those of its tensor, whose heads have their halves interleaved.
int64_t paired_row(const Job &job, int64_t row) {
  const int64_t head = job.rows / job.heads, half = head / 2, at = row % head;
  return row - at + at % half * 2 + at / half;
}

// How the bytes of an area lie in a file.
struct Lie {
  int64_t base;
  Group group;
  int64_t pitch;  // columns of its rows
  bool paired = false;
};

// Calls move(memory, bytes, file offset) for each run of the area that is contiguous in the file.
template <class Move>
bool each_run(const Work &w, const Area &a, Lie lie, uint8_t *memory, Move &&move) {
  const bool whole = a.columns == lie.pitch && !lie.paired;
  const auto stored = [&](int64_t elements) { return elements / lie.group.elements * lie.group.bytes; };
  const int64_t runs = whole ? 1 : a.rows, bytes = stored((whole ? a.rows : 1) * a.columns);
  for (int64_t r = 0; r < runs; ++r) {
    const int64_t row = lie.paired ? paired_row(w.job, a.row + r) : a.row + r;
    if (!move(memory + r * bytes, bytes, lie.base + stored(row * lie.pitch + a.column))) return false;
  }
  return true;
}

// Where a tile lies in the output, whose rows may be longer.
Area written_area(const Job &job, Area a) {
  if (job.target_columns) a.columns = job.target_columns;
  return a;
}

int64_t target_pitch(const Job &job) { return job.target_columns ? job.target_columns : job.columns; }

bool read_area(Work &w, const Area &a, bool from_target, uint8_t *memory) {
  const int file = from_target ? w.job.target : w.job.source;
  const int64_t pitch = w.job.source_columns ? w.job.source_columns : w.job.columns;
  const Lie lie = from_target ? Lie{w.job.data_offset, written(w.job), target_pitch(w.job)}
                              : Lie{w.job.source_offset, group_of(w.job.element), pitch, w.job.heads > 0};
  Failure failure;
  const bool ok = each_run(w, a, lie, memory, [&](uint8_t *p, int64_t bytes, int64_t offset) {
    return read_all(file, p, bytes, offset, from_target, failure);
  });
  return ok || w.stop(failure);
}

bool write_area(Work &w, const Area &a, uint8_t *memory) {
  Failure failure;
  const Lie lie{w.job.data_offset, written(w.job), target_pitch(w.job)};
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

const float *given(const std::vector<float> &values) { return values.empty() ? nullptr : values.data(); }

void decode(const Work &w, const Area &a, const void *stored, uint8_t *floats) {
  const Job &job = w.job;
  const int64_t across = (job.columns + job.scale_columns - 1) / job.scale_columns;
  const Factors factors{given(job.column_factors), given(job.row_factors), job.after};
  job.pass->decode({stored, job.element, a.row, a.column, a.rows, a.columns, given(job.scales), job.scale_rows,
                    job.scale_columns, across, job.add, factors},
                   reinterpret_cast<float *>(floats));
}

void place(Found &found, const Area &a) {
  if (found.count == 0) return;
  found.row += a.row;
  found.column += a.column;
}

void fill_up(const Job &job, const Area &a, const uint8_t *in, uint8_t *out) {
  const int64_t width = element_bytes(job.element), own = a.columns * width, all = job.target_columns * width;
  for (int64_t r = 0; r < a.rows; ++r) {
    std::memcpy(out + r * all, in + r * own, size_t(own));
    std::memset(out + r * all + own, 0, size_t(all - own));
  }
}

// Computes a tile's output from its elements; returns where it lies.
uint8_t *transform(Work &w, const Area &a, uint8_t *in, uint8_t *out, Done &done) {
  Tile tile{in, a.rows, a.columns, decodes(w.job) ? Element::f32 : w.job.element, w.job.policy};
  const Scheme &scheme = w.job.scheme;
  if (scheme.quantizes()) {
    const int64_t first = a.row / w.cut.block_rows * w.cut.scales_across + a.column / w.cut.block_columns;
    const float *importance = w.job.importance.empty() ? nullptr : w.job.importance.data() + a.column;
    const Output to{out, w.scales.data() + first, w.cut.scales_across, w.job.amax, importance};
    w.job.pass->quantize(tile, scheme, to, done.stats, done.found);
  } else if (scheme.code == Code::bf16) {
    w.job.pass->round_bf16(static_cast<const float *>(tile.in), reinterpret_cast<uint16_t *>(out), a.rows * a.columns);
    tile.in = out;  // what became infinite by rounding counts as well
    tile.element = Element::bf16;
    w.job.pass->inspect(tile, done.found);
  } else {
    w.job.pass->inspect(tile, done.found);
    done.inexact = recode(scheme.code, in, out, a.rows * a.columns, done.first_inexact);
    if (done.inexact > 0) done.first_inexact += a.column;
  }
  place(done.found, a);
  if (w.job.target_columns) fill_up(w.job, a, in, out);
  return scheme.code == Code::copy && !w.job.target_columns ? in : out;
}

// Reads a tile, and decodes it where its bytes are no plain floats.
bool read_elements(Work &w, const Area &a, const Buffer (&memory)[3], Done &done) {
  uint8_t *stored = memory[decodes(w.job) ? 2 : 0].get();
  if (!read_area(w, a, false, stored)) return false;
  const Group group = group_of(w.job.element);
  done.source_digest = digest_of(stored, size_t(a.rows * a.columns / group.elements * group.bytes));
  if (decodes(w.job)) decode(w, a, stored, memory[0].get());
  return true;
}

bool measure_tile(Work &w, const Area &a, uint8_t *memory, Done &done) {
  const Element element = decodes(w.job) ? Element::f32 : w.job.element;
  done.amax = w.job.pass->amax({memory, a.rows, a.columns, element, w.job.policy}, done.found);
  place(done.found, a);
  return true;
}

bool run_tile(Work &w, int64_t index, const Buffer (&memory)[3]) {
  const Area a(w.job, w.cut, index), there = written_area(w.job, a);
  Done &done = w.done[size_t(index)];
  const int64_t bits = w.job.scheme.bits(w.job.element), bytes = there.rows * there.columns * bits / 8;
  if (w.job.mode == Mode::digest) {
    if (!read_area(w, there, true, memory[2].get())) return false;
    done.data_digest = digest_of(memory[2].get(), size_t(bytes));
    return true;
  }
  if (!read_elements(w, a, memory, done)) return false;
  if (w.job.mode == Mode::measure) return measure_tile(w, a, memory[0].get(), done);
  uint8_t *out = transform(w, a, memory[0].get(), memory[1].get(), done);
  if (done.found.count > 0 && w.job.policy == Nonfinite::refuse) return true;  // the others are still counted
  if (w.job.mode == Mode::weigh) return true;
  done.data_digest = digest_of(out, size_t(bytes));
  if (w.job.mode == Mode::write) return write_area(w, there, out);
  if (!read_area(w, there, true, memory[2].get())) return false;
  compare(out, memory[2].get(), bytes, (a.row * target_pitch(w.job) + a.column) * bits / 8, done);
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
