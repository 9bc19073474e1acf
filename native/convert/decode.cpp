// What files store, as float32: GGUF's groups, FP8 codes with their scales, plain floats. Bit-equal to the `gguf`
// package's dequantisation, which rounds each product and each sum to float32: nothing is contracted here.
#include "convert/decode.h"

#include "convert/values.h"

namespace opswap::convert::OPSWAP_ISA {
namespace {

inline float half(const uint8_t *p) { return to_float(fp16{read<uint16_t>(p)}); }

// Each has the group's bytes at p and writes its elements; inner loops have fixed lengths, which compilers unroll into
// vectors.
struct Q4_0 {
  static constexpr Element kElement = Element::q4_0;
  static void decode(const uint8_t *p, float *out) {
    const float d = half(p);
    for (int i = 0; i < 16; ++i) out[i] = d * float((p[2 + i] & 15) - 8);
    for (int i = 0; i < 16; ++i) out[16 + i] = d * float((p[2 + i] >> 4) - 8);
  }
};

struct Q4_1 {
  static constexpr Element kElement = Element::q4_1;
  static void decode(const uint8_t *p, float *out) {
    const float d = half(p), m = half(p + 2);
    for (int i = 0; i < 16; ++i) out[i] = d * float(p[4 + i] & 15) + m;
    for (int i = 0; i < 16; ++i) out[16 + i] = d * float(p[4 + i] >> 4) + m;
  }
};

// The fifth bit of element i is bit i of a word.
inline int fifth(uint32_t bits, int i) { return int(bits >> i & 1) << 4; }

struct Q5_0 {
  static constexpr Element kElement = Element::q5_0;
  static void decode(const uint8_t *p, float *out) {
    const float d = half(p);
    const uint32_t bits = read<uint32_t>(p + 2);
    for (int i = 0; i < 16; ++i) out[i] = d * float(((p[6 + i] & 15) | fifth(bits, i)) - 16);
    for (int i = 0; i < 16; ++i) out[16 + i] = d * float(((p[6 + i] >> 4) | fifth(bits, 16 + i)) - 16);
  }
};

struct Q5_1 {
  static constexpr Element kElement = Element::q5_1;
  static void decode(const uint8_t *p, float *out) {
    const float d = half(p), m = half(p + 2);
    const uint32_t bits = read<uint32_t>(p + 4);
    for (int i = 0; i < 16; ++i) out[i] = d * float((p[8 + i] & 15) | fifth(bits, i)) + m;
    for (int i = 0; i < 16; ++i) out[16 + i] = d * float((p[8 + i] >> 4) | fifth(bits, 16 + i)) + m;
  }
};

struct Q8_0 {
  static constexpr Element kElement = Element::q8_0;
  static void decode(const uint8_t *p, float *out) {
    const float d = half(p);
    for (int i = 0; i < 32; ++i) out[i] = d * float(int8_t(p[2 + i]));
  }
};

// Eight pairs of 6 bits in 12 bytes: the low four whole, the high four in the top bits of those and in nibbles.
struct Pairs {
  float scale[8], least[8];
  explicit Pairs(const uint8_t *p) {
    const float d = half(p), dmin = half(p + 2);
    const uint8_t *s = p + 4;
    for (int i = 0; i < 4; ++i) {
      scale[i] = d * float(s[i] & 63);
      least[i] = dmin * float(s[4 + i] & 63);
      scale[4 + i] = d * float((s[8 + i] & 15) | (s[i] >> 2 & 48));
      least[4 + i] = dmin * float(s[8 + i] >> 4 | (s[4 + i] >> 2 & 48));
    }
  }
};

struct Q4_K {
  static constexpr Element kElement = Element::q4_k;
  static void decode(const uint8_t *p, float *out) {
    const Pairs pairs(p);
    for (int k = 0; k < 8; ++k) {
      const uint8_t *q = p + 16 + k / 2 * 32;
      const float d = pairs.scale[k], m = pairs.least[k];
      const int shift = k % 2 * 4;
      for (int i = 0; i < 32; ++i) out[32 * k + i] = d * float(q[i] >> shift & 15) - m;
    }
  }
};

struct Q5_K {
  static constexpr Element kElement = Element::q5_k;
  static void decode(const uint8_t *p, float *out) {
    const Pairs pairs(p);
    const uint8_t *high = p + 16;
    for (int k = 0; k < 8; ++k) {
      const uint8_t *q = p + 48 + k / 2 * 32;
      const float d = pairs.scale[k], m = pairs.least[k];
      const int shift = k % 2 * 4;
      for (int i = 0; i < 32; ++i) out[32 * k + i] = d * float((q[i] >> shift & 15) | (high[i] >> k & 1) << 4) - m;
    }
  }
};

struct Q6_K {
  static constexpr Element kElement = Element::q6_k;
  static void decode(const uint8_t *p, float *out) {
    const uint8_t *scales = p + 192;
    const float d = half(p + 208);
    for (int k = 0; k < 16; ++k) {  // of 16 elements
      const int part = k / 2, four = part % 4;
      const uint8_t *low = p + part / 4 * 64 + four % 2 * 32 + k % 2 * 16;
      const uint8_t *high = p + 128 + part / 4 * 32 + k % 2 * 16;
      const float scale = d * float(int8_t(scales[k]));
      const int shift = four / 2 * 4;
      for (int i = 0; i < 16; ++i)
        out[16 * k + i] = scale * float(((low[i] >> shift & 15) | (high[i] >> 2 * four & 3) << 4) - 32);
    }
  }
};

template <class Q>
void groups(const StoredTile &tile, float *out) {
  constexpr Group group = group_of(Q::kElement);
  const uint8_t *p = static_cast<const uint8_t *>(tile.in);
  const int64_t n = tile.rows * tile.columns / group.elements;
  for (int64_t i = 0; i < n; ++i) Q::decode(p + i * group.bytes, out + i * group.elements);
}

template <class E>
void plain(const StoredTile &tile, float *out) {
  const E *p = static_cast<const E *>(tile.in);
  const Window &window = tile.scales;
  if (window.values == nullptr) {
    for (int64_t i = 0; i < tile.rows * tile.columns; ++i) out[i] = value(p[i]);
    return;
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float *scales = window.of_row(tile.row + r);
    for (int64_t c = 0; c < tile.columns;) {
      const int64_t block = (tile.column + c) / window.columns, all = (block + 1) * window.columns - tile.column;
      const int64_t end = all < tile.columns ? all : tile.columns;
      const float scale = scales[block - window.column];
      for (; c < end; ++c) out[r * tile.columns + c] = value(p[r * tile.columns + c]) * scale;
    }
  }
}

// Up to which column of the tile the window's block at column c goes on.
inline int64_t end_of(const StoredTile &tile, const Window &window, int64_t c) {
  const int64_t end = ((tile.column + c) / window.columns + 1) * window.columns - tile.column;
  return end < tile.columns ? end : tile.columns;
}

// (code - zero) * scale, where each column says in which block it is.
void scale_by_group(const StoredTile &tile, const float *scales, const float *zeros, float *out) {
  for (int64_t c = 0; c < tile.columns; ++c) {
    const int32_t at = tile.group[tile.column + c];
    const float zero = (zeros == nullptr ? 0 : zeros[at]) + tile.zero;
    out[c] = (out[c] - zero) * (scales == nullptr ? 1 : scales[at]);
  }
}

// The same where blocks are neighbours.
void scale_row_of(const StoredTile &tile, const float *scales, const float *zeros, float *out) {
  for (int64_t c = 0; c < tile.columns;) {
    int64_t end = tile.columns;
    float zero = tile.zero, scale = 1;
    if (scales != nullptr) {
      scale = scales[(tile.column + c) / tile.scales.columns - tile.scales.column];
      end = end_of(tile, tile.scales, c);
    }
    if (zeros != nullptr) {
      zero += zeros[(tile.column + c) / tile.zeros.columns - tile.zeros.column];
      const int64_t own = end_of(tile, tile.zeros, c);
      end = own < end ? own : end;
    }
    for (; c < end; ++c) out[c] = (out[c] - zero) * scale;
  }
}

void lines(const StoredTile &tile, float *out) {
  unpack(*tile.lines, out);
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float *scales = tile.scales.values ? tile.scales.of_row(tile.row + r) : nullptr;
    const float *zeros = tile.zeros.values ? tile.zeros.of_row(tile.row + r) : nullptr;
    float *row = out + r * tile.columns;
    tile.group == nullptr ? scale_row_of(tile, scales, zeros, row) : scale_by_group(tile, scales, zeros, row);
  }
}

using Function = void (*)(const StoredTile &, float *);
Function function_of(Element element) {
  switch (element) {
    case Element::bf16:
      return plain<bf16>;
    case Element::f16:
      return plain<fp16>;
    case Element::f32:
      return plain<float>;
    case Element::f64:
      return plain<double>;
    case Element::e5m2:
      return plain<e5m2>;
    case Element::e4m3:
      return plain<e4m3>;
    case Element::e5m2fnuz:
      return plain<e5m2fnuz>;
    case Element::e4m3fnuz:
      return plain<e4m3fnuz>;
    case Element::i8:
      return plain<int8_t>;
    case Element::q4_0:
      return groups<Q4_0>;
    case Element::q4_1:
      return groups<Q4_1>;
    case Element::q5_0:
      return groups<Q5_0>;
    case Element::q5_1:
      return groups<Q5_1>;
    case Element::q8_0:
      return groups<Q8_0>;
    case Element::q4_k:
      return groups<Q4_K>;
    case Element::q5_k:
      return groups<Q5_K>;
    case Element::q6_k:
      return groups<Q6_K>;
    default:
      return nullptr;  // bytes are never decoded, and what shares a byte comes in lines
  }
}

}  // namespace

namespace {

void add_all(float *out, int64_t n, float what) {
  if (what == 0) return;
  for (int64_t i = 0; i < n; ++i) out[i] += what;
}

void scale_row(const Factors &factors, int64_t row, int64_t column, int64_t columns, float *out) {
  if (factors.columns != nullptr)
    for (int64_t c = 0; c < columns; ++c) out[c] *= factors.columns[column + c];
  if (factors.rows == nullptr) return;
  const float factor = factors.rows[row];
  for (int64_t c = 0; c < columns; ++c) out[c] *= factor;
}

}  // namespace

void decode(const StoredTile &tile, float *out) {
  tile.lines == nullptr ? function_of(tile.element)(tile, out) : lines(tile, out);
  const int64_t n = tile.rows * tile.columns;
  add_all(out, n, tile.add);
  for (int64_t r = 0; r < tile.rows; ++r)
    scale_row(tile.factors, tile.row + r, tile.column, tile.columns, out + r * tile.columns);
  add_all(out, n, tile.factors.after);
}

void round_bf16(const float *in, uint16_t *out, int64_t n) {
  bf16 *to = reinterpret_cast<bf16 *>(out);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(in + i));
  for (; i < n; ++i) to[i] = from_float<bf16>(in[i]);
}

}  // namespace opswap::convert::OPSWAP_ISA
