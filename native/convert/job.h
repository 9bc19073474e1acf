// One tensor through the converter: tiles are read, quantised or copied, and written or compared, by a few threads at
// once, so that disk and CPU work at the same time in a memory that does not grow with the tensor.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "convert/plane.h"
#include "convert/tile.h"

namespace opswap::convert {

constexpr int64_t kTileBytes = 4 << 20;
constexpr int64_t kLongestRow = kTileBytes / 8;  // that one scale can serve

enum class Mode : int32_t {
  write,    // source to target
  verify,   // source again, compared with target
  digest,   // target alone
  measure,  // the source's largest magnitude, alone
  weigh,    // the source's codes, of which the weighted error alone is kept
};

struct Job {
  Mode mode = Mode::write;
  Scheme scheme;
  Element element = Element::other;
  Nonfinite policy = Nonfinite::refuse;
  int source = -1, target = -1;  // file descriptors
  int64_t source_offset = 0, data_offset = 0, scale_offset = 0;
  int64_t rows = 1, columns = 0;  // what is not quantised is one row, unless it is some columns of a wider matrix
  int64_t source_columns = 0;     // of that matrix; 0 where it has no more
  int64_t target_columns = 0;     // with the zeros that fill up what is copied; 0 where there are none
  float amax = 0;                 // of all that shares a scale, where that is the whole tensor
  int32_t threads = 1;
  const Pass *pass = nullptr;
  int64_t slices = 1;          // matrices of equal size one below the other, each with scales of its own
  std::optional<Plane> codes;  // how they lie, where not row after row
  std::optional<Grid> scales;  // what they are multiplied by
  std::optional<Grid> zeros;   // what is taken from them first, with `zero`; goes with `codes`
  float zero = 0;
  std::vector<int32_t> groups;  // in which column of those grids each column is; empty where they are neighbours
  float add = 0;                // to every element of the source
  // Attention heads whose rows the source keeps as GGUF keeps Llama's, in pairs; 0 where it does not.
  int64_t heads = 0;
  // Whether elements have factors; in mode digest these are not given, but tiles are cut as if they were.
  bool scaled = false;
  std::vector<float> column_factors, row_factors;
  float after = 0;
  std::vector<float> importance;  // of each column
};

// What stopped a job: a call on a file, or one that ended early (error 0).
struct Failure {
  const char *call = nullptr;
  bool on_target = false;
  int error = 0;
  int64_t offset = 0;
  std::string path;  // of a file that is neither source nor target
};

struct Result {
  // Of the tiles' digests in order; the same whatever the number of threads.
  uint64_t source_digest = 0, data_digest = 0, scale_digest = 0;
  Stats stats;
  Nonfinites found;
  int64_t differing = 0;         // bytes, when verifying
  int64_t first_differing = -1;  // byte of the data
  int64_t differing_scales = 0;
  int64_t inexact = 0, first_inexact = -1;  // elements that the new type cannot hold
  float amax = 0;                           // when measuring
  Failure failure;
};

Result run(const Job &job);

}  // namespace opswap::convert
