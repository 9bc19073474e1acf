// What files store, as float32: GGUF's groups, FP8 codes with their scales, plain floats. Bit-equal to the `gguf`
// package's dequantisation, which rounds each product and each sum to float32: nothing is contracted here.
#include "convert/decode.h"

#include "common/fp8.h"

namespace opswap::convert::OPSWAP_ISA {
namespace {

using namespace opswap::OPSWAP_ISA;

template <class T>
inline T read(const uint8_t *p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
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

// e4m3's bits, moved to float32's place, are the value times 2^-120; e5m2's are the upper half of an fp16.
inline float value(e4m3 x) {
  const uint32_t size = x.bits & 0x7f, sign = uint32_t(x.bits & 0x80) << 24;
  const float finite = std::bit_cast<float>(size << 20) * 0x1p120f;
  return std::bit_cast<float>((size == 0x7f ? 0x7fc00000u : std::bit_cast<uint32_t>(finite)) | sign);
}
struct e5m2 {
  uint8_t bits;
};
inline float value(e5m2 x) { return to_float(fp16{uint16_t(x.bits << 8)}); }
inline float value(double x) { return float(x); }
inline float value(bf16 x) { return to_float(x); }
inline float value(fp16 x) { return to_float(x); }
inline float value(float x) { return x; }

template <class E>
void plain(const StoredTile &tile, float *out) {
  const E *p = static_cast<const E *>(tile.in);
  if (tile.scales == nullptr) {
    for (int64_t i = 0; i < tile.rows * tile.columns; ++i) out[i] = value(p[i]);
    return;
  }
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float *scales = tile.scales + (tile.row + r) / tile.scale_rows * tile.scales_across;
    for (int64_t c = 0; c < tile.columns;) {
      const int64_t block = (tile.column + c) / tile.scale_columns,
                    all = (block + 1) * tile.scale_columns - tile.column;
      const int64_t end = all < tile.columns ? all : tile.columns;
      const float scale = scales[block];
      for (; c < end; ++c) out[r * tile.columns + c] = value(p[r * tile.columns + c]) * scale;
    }
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
    case Element::other:
      break;
  }
  return nullptr;  // bytes are never decoded
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
  function_of(tile.element)(tile, out);
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
