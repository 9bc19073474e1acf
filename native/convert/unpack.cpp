// Lines of codes, scales or zeros as rows of float32, whatever way they are packed in.
#include "convert/decode.h"
#include "convert/values.h"

namespace opswap::convert::OPSWAP_ISA {
namespace {

// Columns of the output that are written together: a line of the cache.
constexpr int64_t kTogether = 16;

struct U4 {
  static float of(uint32_t code) { return float(code); }
};
struct I4 {
  static float of(uint32_t code) { return float(int(code ^ 8) - 8); }
};
struct E2m1 {
  static float of(uint32_t code) {
    constexpr float kValues[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    return kValues[code];
  }
};

// Each gives the element at place i of line l.
template <class E>
struct Whole {
  const Lines &lines;
  float operator()(int64_t l, int64_t i) const {
    return value(read<E>(lines.bytes + l * lines.run_bytes + i * int64_t(sizeof(E))));
  }
};

template <class N>
struct Nibbles {
  const Lines &lines;
  float operator()(int64_t l, int64_t i) const {
    const int64_t at = lines.first + i;
    return N::of(lines.bytes[l * lines.run_bytes + at / 2] >> at % 2 * 4 & 15u);
  }
};

// AWQ's eight: 0, 2, 4, 6, 1, 3, 5, 7 from the lowest bits on.
struct Interleaved {
  const Lines &lines;
  float operator()(int64_t l, int64_t i) const {
    const int64_t at = lines.first + i, one = at % 8;
    return float(read<uint32_t>(lines.bytes + l * lines.run_bytes + at / 8 * 4) >> (one % 2 * 4 + one / 2) * 4 & 15u);
  }
};

template <int bits>
struct Words {
  const Lines &lines;
  float operator()(int64_t l, int64_t i) const {
    constexpr int64_t kEach = 32 / bits;
    const int64_t line = lines.first + l;
    const uint8_t *word = lines.bytes + line / kEach * lines.run_bytes + 4 * i;
    return float(read<uint32_t>(word) >> line % kEach * bits & ((1u << bits) - 1));
  }
};

template <class Get>
void write(const Lines &lines, const Get &get, float *out) {
  if (!lines.by_columns) {
    for (int64_t l = 0; l < lines.lines; ++l)
      for (int64_t i = 0; i < lines.count; ++i) out[l * lines.count + i] = get(l, i);
    return;
  }
  for (int64_t begin = 0; begin < lines.lines; begin += kTogether) {
    const int64_t end = begin + kTogether < lines.lines ? begin + kTogether : lines.lines;
    for (int64_t i = 0; i < lines.count; ++i)
      for (int64_t l = begin; l < end; ++l) out[i * lines.lines + l] = get(l, i);
  }
}

}  // namespace

void unpack(const Lines &lines, float *out) {
  if (lines.packing == Packing::awq) return write(lines, Interleaved{lines}, out);
  const bool across = lines.packing == Packing::across;
  switch (lines.element) {
    case Element::u4:
      return across ? write(lines, Words<4>{lines}, out) : write(lines, Nibbles<U4>{lines}, out);
    case Element::u8:
      return across ? write(lines, Words<8>{lines}, out) : write(lines, Whole<uint8_t>{lines}, out);
    case Element::i4:
      return write(lines, Nibbles<I4>{lines}, out);
    case Element::e2m1:
      return write(lines, Nibbles<E2m1>{lines}, out);
    case Element::i8:
      return write(lines, Whole<int8_t>{lines}, out);
    case Element::e8m0:
      return write(lines, Whole<e8m0>{lines}, out);
    case Element::f64:
      return write(lines, Whole<double>{lines}, out);
    case Element::f32:
      return write(lines, Whole<float>{lines}, out);
    case Element::f16:
      return write(lines, Whole<fp16>{lines}, out);
    case Element::bf16:
      return write(lines, Whole<bf16>{lines}, out);
    default:
      return;  // the binding refuses other planes
  }
}

}  // namespace opswap::convert::OPSWAP_ISA
