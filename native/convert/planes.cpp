// Works out which bytes of a file hold a rectangle of a plane, and reads them.
#include "convert/planes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "convert/files.h"

namespace opswap::convert {
namespace {

constexpr int64_t kWord = 4;

int64_t up(int64_t n, int64_t size) { return (n + size - 1) / size; }

// The fewest elements of a line that are stored together.
Group together(const Plane &plane) { return plane.packing == Packing::awq ? Group{8, kWord} : group_of(plane.element); }

}  // namespace

InputFile::~InputFile() {
  if (file_ >= 0) ::close(file_);
}

bool InputFile::open(const std::string &path, Failure &failure) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) failure = {"open", false, errno, 0, path};
  return file_ >= 0;
}

Cutout::Cutout(const Plane &plane, int64_t slice, const Rectangle &area) {
  const bool turned = plane.by_columns;
  const int64_t line = turned ? area.column : area.row, lines = turned ? area.columns : area.rows;
  const int64_t at = turned ? area.row : area.column, count = turned ? area.rows : area.columns;
  lines_ = {nullptr, plane.element, plane.packing, turned, lines, count, 0, 0};
  if (plane.packing == Packing::across) {
    const int64_t each = lines_in_word(plane.element), first = line / each;
    runs_ = up(line + lines, each) - first;
    lines_.run_bytes = count * kWord;
    lines_.first = line % each;
    step_ = plane.pitch * kWord;
    offset_ = plane.offset + (slice * up(plane.lines, each) + first) * step_ + at * kWord;
    return;
  }
  const Group group = together(plane);
  const int64_t first = at / group.elements;
  runs_ = lines;
  lines_.run_bytes = (up(at + count, group.elements) - first) * group.bytes;
  lines_.first = at % group.elements;
  step_ = plane.pitch / group.elements * group.bytes;
  offset_ = plane.offset + (slice * plane.lines + line) * step_ + first * group.bytes;
}

bool Cutout::read(int file, uint8_t *bytes, Failure &failure) const {
  const int64_t run = lines_.run_bytes;
  if (run == step_) return read_all(file, bytes, runs_ * run, offset_, false, failure);
  for (int64_t i = 0; i < runs_; ++i)
    if (!read_all(file, bytes + i * run, run, offset_ + i * step_, false, failure)) return false;
  return true;
}

Lines Cutout::lines(const uint8_t *bytes) const {
  Lines lines = lines_;
  lines.bytes = bytes;
  return lines;
}

}  // namespace opswap::convert
