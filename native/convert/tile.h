// The types of the converter: stored elements, codes, schemes, statistics, and a tile with what a pass computes from
// it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opswap::convert {

enum class Element : int32_t {
  bf16,
  f16,
  f32,
  f64,
  e5m2,
  e4m3,
  other,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
  i8,
  u8,
  e8m0,
  e4m3fnuz,
  e5m2fnuz,
  // Half a byte: 0 to 15, two's complement, and the FP4 of MX formats.
  u4,
  i4,
  e2m1,
};
enum class Nonfinite : int32_t { refuse, keep, zero };

constexpr int64_t element_bytes(Element element) {
  switch (element) {
    case Element::bf16:
    case Element::f16:
      return 2;
    case Element::f32:
      return 4;
    case Element::f64:
      return 8;
    default:
      return 1;
  }
}

// The fewest elements that are stored together, and their bytes.
struct Group {
  int64_t elements, bytes;
};
constexpr Group group_of(Element element) {
  switch (element) {
    case Element::q4_0:
      return {32, 18};
    case Element::q4_1:
      return {32, 20};
    case Element::q5_0:
      return {32, 22};
    case Element::q5_1:
      return {32, 24};
    case Element::q8_0:
      return {32, 34};
    case Element::q4_k:
      return {256, 144};
    case Element::q5_k:
      return {256, 176};
    case Element::q6_k:
      return {256, 210};
    case Element::u4:
    case Element::i4:
    case Element::e2m1:
      return {2, 1};
    default:
      return {1, element_bytes(element)};
  }
}

// Codes that share a byte or a word of 32 bits, the first in its lowest bits.
enum class Packing : int32_t {
  along,   // neighbours of a line
  across,  // neighbouring lines: each word has one element of each
  awq,     // neighbours of a line, the even ones of eight before the odd ones
};
constexpr int64_t lines_in_word(Element element) { return group_of(element).elements == 2 ? 8 : 4; }

constexpr float kSmallestAmax = 1e-12f;  // so that no scale is 0
constexpr float kLargestE4m3 = 448;

// What is written for an element. Nibbles: the even column is the low half of a byte.
#define OPSWAP_CONVERT_CODES(X)                         \
  X(copy)   /* its bytes */                             \
  X(flip)   /* the top bit of each nibble inverted */   \
  X(widen)  /* bf16 as f32 */                           \
  X(narrow) /* f32 as bf16, where that loses nothing */ \
  X(bf16)   /* rounded */                               \
  X(e4m3)                                               \
  X(int4_offset) /* -8 to 7 in a nibble, 8 added */     \
  X(int4_signed) /* the same in two's complement */

enum class Code : int32_t {
#define X(name) name,
  OPSWAP_CONVERT_CODES(X)
#undef X
};

// How weights become codes and scales. Layouts are made of these parts, and this side names none of them.
struct Scheme {
  Code code = Code::copy;
  // Weights that share a scale; 0 rows are the whole tensor, 0 columns the whole row. A block of int4 is one row's.
  int64_t block_rows = 0, block_columns = 0;
  Element scale = Element::f32;
  int64_t scale_align = 1;  // zeros fill up rows of scales to a multiple
  // Of int4, whose scales are bf16 numbers in either type: the one of least squared error, and not amax / 7.5.
  bool clipped = false;
  bool weighted = false;  // the errors of that count as the columns' importance says

  bool quantizes() const { return code >= Code::e4m3; }
  bool is_int4() const { return code >= Code::int4_offset; }
  // Of what is written for an element.
  int64_t bits(Element element) const {
    if (quantizes()) return is_int4() ? 4 : 8;
    return 8 * (code == Code::widen ? 4 : code == Code::narrow || code == Code::bf16 ? 2 : element_bytes(element));
  }
};

// Counts and sums over finite elements; errors are in the element's own units.
struct Stats {
  double signal = 0, noise = 0;  // sums of squares
  double largest_error = 0;
  double smallest_scale = 0, largest_scale = 0;
  int64_t elements = 0, zeros = 0, flushed = 0, at_limit = 0, zero_blocks = 0;
  double weighted = 0;  // noise, each column's by its importance
};

struct Nonfinites {
  int64_t count = 0;
  int64_t row = -1, column = -1;  // of the first in row-major order
};

// Rows and columns of a tile, packed: element (r, c) is at r * columns + c.
struct Tile {
  void *in;
  int64_t rows, columns;
  Element element;
  Nonfinite policy;
};

// What the elements of a tensor are multiplied by before they are encoded, column by column, then row by row; nullptr
// is
// 1. Then `after` is added.
struct Factors {
  const float *columns = nullptr, *rows = nullptr;
  float after = 0;
};

// Bytes that hold a rectangle of numbers: runs, each a line, or a line of words.
struct Lines {
  const uint8_t *bytes;
  Element element;
  Packing packing;
  bool by_columns;  // lines are columns of the rectangle
  int64_t lines, count;
  int64_t run_bytes;
  int64_t first;  // of the first run: elements, or lines of its words, that come before
};

// Numbers that each serve a block of rows x columns of a tensor; `values` begins with that of block (row, column).
struct Window {
  const float *values = nullptr;
  int64_t rows = 1, columns = 1, row = 0, column = 0, across = 0;
  int64_t first = 0;  // rows of the tensor's first block that come before it

  const float *of_row(int64_t r) const { return values + ((r + first) / rows - row) * across; }
};

// A tile as a source stores it: whole groups, row after row, or lines of codes. (row, column) is its place in the
// slice.
struct StoredTile {
  const void *in;
  Element element;
  int64_t row, column, rows, columns;
  Window scales;         // what codes are multiplied by; no values where there is nothing
  const Lines *lines;    // nullptr where the bytes are rows of elements; then there are no zeros
  Window zeros;          // what is taken from codes first
  float zero;            // the same for all of them
  const int32_t *group;  // in which block of scales and zeros each column is; nullptr where blocks are neighbours
  float add;             // to every element
  Factors factors;
};

// Where a tile's output goes: codes are packed like the tile; the scale of block (i, j) is at i * across + j.
struct Output {
  uint8_t *codes;
  float *scales;
  int64_t across;
  float amax;               // of all that shares a scale, where that is the whole tensor
  const float *importance;  // of each column, in int4; nullptr where errors are not weighted
};

using Quantize = void (*)(const Tile &tile, const Scheme &scheme, const Output &out, Stats &stats, Nonfinites &found);
// Looks for non-finite elements, and writes 0 over them where the policy says so.
using Inspect = void (*)(const Tile &tile, Nonfinites &found);
// The largest magnitude of the finite elements.
using Amax = float (*)(const Tile &tile, Nonfinites &found);

// out: rows * columns floats.
using Decode = void (*)(const StoredTile &tile, float *out);
// Numbers row after row.
using Unpack = void (*)(const Lines &lines, float *out);
// Rounds n floats to the nearest bfloat16, ties to even.
using RoundBf16 = void (*)(const float *in, uint16_t *out, int64_t n);

struct Pass {
  const char *isa;
  Quantize quantize;
  Inspect inspect;
  Amax amax;
  Decode decode;
  Unpack unpack;
  RoundBf16 round_bf16;
};

// The best pass for this CPU, and the one for an instruction set; nullptr where it is not built or cannot run.
const Pass &best_pass();
const Pass *pass_named(const char *isa);

}  // namespace opswap::convert
