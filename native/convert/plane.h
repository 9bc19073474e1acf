// How numbers lie in a file: the codes of a tensor, their scales or their zeros.
#pragma once

#include <string>

#include "convert/tile.h"

namespace opswap::convert {

struct Plane {
  std::string path;  // of its file; empty for codes, which are in the source
  int64_t offset = 0;
  Element element = Element::f32;
  Packing packing = Packing::along;
  bool by_columns = false;  // a line of the file is a column of the tensor
  int64_t pitch = 0;        // elements from a line to the next; with Packing::across, words
  int64_t lines = 0;        // of a slice; 0 where all have the same
};

// Numbers that each serve a block of rows x columns.
struct Grid : Plane {
  int64_t rows = 1, columns = 1;
  int64_t first = 0;  // rows of the first block that come before the tensor
};

}  // namespace opswap::convert
