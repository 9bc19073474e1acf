// A tile's way: read, decoded, computed, written or compared.
#include <cstring>

#include "convert/digest.h"
#include "convert/files.h"
#include "convert/recode.h"
#include "convert/work.h"

namespace opswap::convert {
namespace {

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
struct FileLayout {
  int64_t base;
  Group group;
  int64_t pitch;  // columns of its rows
  bool paired = false;
};

// Calls move(memory, bytes, file offset) for each run of the area that is contiguous in the file.
template <class Move>
bool each_run(const Work &w, const Area &a, FileLayout layout, uint8_t *memory, Move &&move) {
  const bool whole = a.columns == layout.pitch && !layout.paired;
  const auto stored = [&](int64_t elements) { return elements / layout.group.elements * layout.group.bytes; };
  const int64_t runs = whole ? 1 : a.rows, bytes = stored((whole ? a.rows : 1) * a.columns);
  for (int64_t r = 0; r < runs; ++r) {
    const int64_t row = layout.paired ? paired_row(w.job, a.row + r) : a.row + r;
    if (!move(memory + r * bytes, bytes, layout.base + stored(row * layout.pitch + a.column))) return false;
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
  const FileLayout layout = from_target
                                ? FileLayout{w.job.data_offset, written(w.job), target_pitch(w.job)}
                                : FileLayout{w.job.source_offset, group_of(w.job.element), pitch, w.job.heads > 0};
  Failure failure;
  const bool ok = each_run(w, a, layout, memory, [&](uint8_t *p, int64_t bytes, int64_t offset) {
    return read_all(file, p, bytes, offset, from_target, failure);
  });
  return ok || w.stop(failure);
}

bool write_area(Work &w, const Area &a, uint8_t *memory) {
  Failure failure;
  const FileLayout layout{w.job.data_offset, written(w.job), target_pitch(w.job)};
  const bool ok = each_run(w, a, layout, memory, [&](uint8_t *p, int64_t bytes, int64_t offset) {
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

// Reads the numbers that serve an area of a slice; where columns say which, those of its rows.
bool read_window(Work &w, const Grid &grid, int file, const Rectangle &a, int64_t slice, Scratch &scratch,
                 std::vector<float> &values, Window &window) {
  const bool all = !w.job.groups.empty();
  const int64_t row = (a.row + grid.first) / grid.rows, column = all ? 0 : a.column / grid.columns;
  const int64_t end = all ? w.job.columns : a.column + a.columns;
  const int64_t down = parts(a.row + a.rows + grid.first, grid.rows) - row, across = parts(end, grid.columns) - column;
  const Cutout cutout(grid, slice, {row, column, down, across});
  scratch.bytes.resize(size_t(cutout.bytes()));
  values.resize(size_t(down * across));
  Failure failure;
  if (!cutout.read(file, scratch.bytes.data(), failure)) {
    failure.path = grid.path;
    return w.stop(failure);
  }
  w.job.pass->unpack(cutout.lines(scratch.bytes.data()), values.data());
  window = {values.data(), grid.rows, grid.columns, row, column, across, grid.first};
  return true;
}

// What is at `stored` as floats.
bool decode(Work &w, const Area &a, const void *stored, const Lines *lines, float *floats, Scratch &scratch) {
  const Job &job = w.job;
  const Rectangle own{a.row - a.slice * w.cut.slice_rows, a.column, a.rows, a.columns};
  Window scales, zeros;
  if (job.scales && !read_window(w, *job.scales, w.scale_file.get(), own, a.slice, scratch, scratch.scales, scales))
    return false;
  if (job.zeros && !read_window(w, *job.zeros, w.zero_file.get(), own, a.slice, scratch, scratch.zeros, zeros))
    return false;
  const Factors factors{given(job.column_factors), given(job.row_factors), job.after};
  const int32_t *groups = job.groups.empty() ? nullptr : job.groups.data();
  job.pass->decode({stored, job.element, own.row, own.column, own.rows, own.columns, scales, lines, zeros, job.zero,
                    groups, job.add, factors},
                   floats);
  return true;
}

void place(Nonfinites &found, const Area &a) {
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

// Codes that do not lie row after row.
bool read_codes(Work &w, const Area &a, Scratch &scratch, Done &done) {
  const Cutout cutout(*w.job.codes, a.slice, {a.row - a.slice * w.cut.slice_rows, a.column, a.rows, a.columns});
  uint8_t *stored = scratch.memory[2].get();
  Failure failure;
  if (!cutout.read(w.job.source, stored, failure)) return w.stop(failure);
  done.source_digest = digest_of(stored, size_t(cutout.bytes()));
  const Lines lines = cutout.lines(stored);
  return decode(w, a, stored, &lines, reinterpret_cast<float *>(scratch.memory[0].get()), scratch);
}

// Reads a tile, and decodes it where its bytes are no plain floats.
bool read_elements(Work &w, const Area &a, Scratch &scratch, Done &done) {
  if (w.job.codes) return read_codes(w, a, scratch, done);
  uint8_t *stored = scratch.memory[decodes(w.job) ? 2 : 0].get();
  if (!read_area(w, a, false, stored)) return false;
  const Group group = group_of(w.job.element);
  done.source_digest = digest_of(stored, size_t(a.rows * a.columns / group.elements * group.bytes));
  if (!decodes(w.job)) return true;
  return decode(w, a, stored, nullptr, reinterpret_cast<float *>(scratch.memory[0].get()), scratch);
}

bool measure_tile(Work &w, const Area &a, uint8_t *memory, Done &done) {
  const Element element = decodes(w.job) ? Element::f32 : w.job.element;
  done.amax = w.job.pass->amax({memory, a.rows, a.columns, element, w.job.policy}, done.found);
  place(done.found, a);
  return true;
}

}  // namespace

bool run_tile(Work &w, int64_t index, Scratch &scratch) {
  const Area a(w.job, w.cut, index), there = written_area(w.job, a);
  const Buffer(&memory)[3] = scratch.memory;
  Done &done = w.done[size_t(index)];
  const int64_t bits = w.job.scheme.bits(w.job.element), bytes = there.rows * there.columns * bits / 8;
  if (w.job.mode == Mode::digest) {
    if (!read_area(w, there, true, memory[2].get())) return false;
    done.data_digest = digest_of(memory[2].get(), size_t(bytes));
    return true;
  }
  if (!read_elements(w, a, scratch, done)) return false;
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

}  // namespace opswap::convert
