// One tile of a tensor on its way through the converter: what an instruction set's pass computes from it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opswap::convert {

constexpr int64_t kBlock = 128;

enum class Element : int32_t { bf16, f16, f32, f64, e5m2, e4m3, other, q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k };
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
    default:
      return {1, element_bytes(element)};
  }
}

// Counts and sums over finite elements; errors are in the element's own units.
struct Stats {
  double signal = 0, noise = 0;  // sums of squares
  double largest_error = 0;
  double smallest_scale = 0, largest_scale = 0;
  int64_t elements = 0, zeros = 0, flushed = 0, at_limit = 0, zero_blocks = 0;
};

struct Found {
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

// A tile as a source stores it: whole groups, row after row. (row, column) is its place in the tensor.
struct StoredTile {
  const void *in;
  Element element;
  int64_t row, column, rows, columns;
  // What codes are multiplied by: one for each block of scale_rows x scale_columns; nullptr where there is none.
  const float *scales;
  int64_t scale_rows, scale_columns, scales_across;
  float add;  // to every element
};

// codes: rows * columns bytes; scales: one for each block of 128 columns. rows is at most 128.
using QuantizeFp8 = void (*)(const Tile &tile, uint8_t *codes, float *scales, Stats &stats, Found &found);
// Looks for non-finite elements, and writes 0 over them where the policy says so.
using Inspect = void (*)(const Tile &tile, Found &found);

// out: rows * columns floats.
using Decode = void (*)(const StoredTile &tile, float *out);
// Rounds n floats to the nearest bfloat16, ties to even.
using RoundBf16 = void (*)(const float *in, uint16_t *out, int64_t n);

struct Pass {
  const char *isa;
  QuantizeFp8 quantize_fp8;
  Inspect inspect;
  Decode decode;
  RoundBf16 round_bf16;
};

// The best pass for this CPU, and the one for an instruction set; nullptr where it is not built or cannot run.
const Pass &best_pass();
const Pass *pass_named(const char *isa);

}  // namespace opswap::convert
