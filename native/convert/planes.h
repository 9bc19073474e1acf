// Reads a rectangle of a plane (plane.h) out of its file, line by line, as the bytes of quantised or float elements.
#pragma once

#include <vector>

#include "convert/job.h"
#include "convert/plane.h"

namespace opswap::convert {

// A file that is closed with its owner; -1 where there is none.
class InputFile {
 public:
  InputFile() = default;
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;
  ~InputFile();
  bool open(const std::string &path, Failure &failure);
  int get() const { return file_; }

 private:
  int file_ = -1;
};

struct Rectangle {
  int64_t row, column, rows, columns;  // of a slice
};

// A rectangle of one slice of a plane: where its bytes lie in the file, how many they are, and how to read them.
class Cutout {
 public:
  Cutout(const Plane &plane, int64_t slice, const Rectangle &area);
  int64_t bytes() const { return runs_ * lines_.run_bytes; }
  // `bytes` has room for bytes().
  bool read(int file, uint8_t *bytes, Failure &failure) const;
  Lines lines(const uint8_t *bytes) const;

 private:
  Lines lines_;
  int64_t runs_;           // lines, or lines of words
  int64_t offset_, step_;  // of the first run, and to the next
};

}  // namespace opswap::convert
