// How a tensor is cut into tiles. It depends on nothing but the tensor, so digests of tiles can be compared between
// runs.
#pragma once

#include <algorithm>

#include "convert/buffer.h"
#include "convert/job.h"

namespace opswap::convert {

constexpr int64_t kMostGroup = 256;
constexpr int64_t kBand = 128;     // rows of a tile, where its blocks do not say otherwise
constexpr int64_t kTurned = 1024;  // the same, where the source's lines are columns: its runs and ours are as long

inline int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Whether tiles become floats before they are encoded.
inline bool decodes(const Job &job) {
  if (!job.scheme.quantizes() && job.scheme.code != Code::bf16 && job.mode != Mode::measure) return false;
  const bool quantizable = job.element == Element::bf16 || job.element == Element::f16 || job.element == Element::f32;
  return job.scheme.code == Code::bf16 || !quantizable || job.scales || job.codes || job.add != 0 || job.scaled;
}

struct Cut {
  int64_t slice_rows;
  int64_t rows, columns;  // of a tile, which is in one slice
  int64_t across, down, count;
  // Of blocks that have a scale each.
  int64_t block_rows, block_columns, scales_across, scales;

  explicit Cut(const Job &job)
      : slice_rows(job.rows / job.slices),
        block_rows(job.scheme.block_rows ? job.scheme.block_rows : std::max<int64_t>(job.rows, 1)),
        block_columns(job.scheme.block_columns ? job.scheme.block_columns : std::max<int64_t>(job.columns, 1)),
        scales_across(parts(job.columns, block_columns)),
        scales(job.scheme.quantizes() ? scales_across * parts(job.rows, block_rows) : 0) {
    const int64_t width =
        std::max(decodes(job) ? int64_t(4) : job.scheme.bits(job.element) / 8, element_bytes(job.element));
    const bool one_scale = job.scheme.quantizes() && job.scheme.block_columns == 0 && job.scheme.block_rows != 0;
    const bool whole_rows = one_scale || job.target_columns > 0;
    const int64_t longest = std::max(job.target_columns, block_columns);
    const bool banded = job.scheme.quantizes() || job.mode == Mode::measure;
    const int64_t band = job.codes && job.codes->by_columns ? kTurned : kBand;
    rows = std::clamp<int64_t>(parts(slice_rows, kBand) * kBand, kBand, band);
    if (!banded) rows = std::clamp<int64_t>(slice_rows, 1, band);
    if (whole_rows) rows = std::clamp<int64_t>(kTileBytes / (width * longest), 1, kBand);
    columns = whole_rows ? job.columns : std::min(job.columns, kTileBytes / (rows * width) / kMostGroup * kMostGroup);
    across = columns == 0 ? 0 : parts(job.columns, columns);
    down = parts(slice_rows, rows);
    count = job.slices * across * down;
  }
};

// Rectangle of a tile: rows and columns of the tensor.
struct Area {
  int64_t slice, row, column, rows, columns;

  Area(const Job &job, const Cut &cut, int64_t index)
      : slice(index / (cut.across * cut.down)),
        row(slice * cut.slice_rows + index / cut.across % cut.down * cut.rows),
        column(index % cut.across * cut.columns),
        rows(std::min(cut.rows, (slice + 1) * cut.slice_rows - row)),
        columns(std::min(cut.columns, job.columns - column)) {}
};

}  // namespace opswap::convert
