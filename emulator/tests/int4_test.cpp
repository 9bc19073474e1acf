// int4 to every type it goes to: each code in each nibble, and words in which all nibbles differ.
#include "common/device/int4.h"

#include "check.h"

using namespace opswap;

namespace {

constexpr int kPairs[] = {0, 2, 4, 6, 1, 3, 5, 7};

template <class T, Int4 Code, NibbleOrder Order>
void check(uint32_t word) {
  const Vec<T, 8> v = from_int4<T, Code, Order>(word);
  for (int p = 0; p < 8; ++p) {
    const int code = int(word >> 4 * p & 15);
    const int value = Code == Int4::offset8 ? code - 8 : code < 8 ? code : code - 16;
    const int element = Order == NibbleOrder::linear ? p : kPairs[p];
    EXPECT(to_float(v[element]) == float(value) && !(value == 0 && std::signbit(to_float(v[element]))));
  }
}

template <class T>
void check_all(uint32_t word) {
  check<T, Int4::signed4, NibbleOrder::linear>(word);
  check<T, Int4::signed4, NibbleOrder::pairs>(word);
  check<T, Int4::offset8, NibbleOrder::linear>(word);
  check<T, Int4::offset8, NibbleOrder::pairs>(word);
}

}  // namespace

CASE(int4_to_every_type) {
  uint32_t word = 0x9e3779b9;
  for (int i = 0; i < 8 * 16 + 1000; ++i) {
    // each code alone in each nibble, among zeros and among ones; then words of a simple sequence
    const uint32_t alone = uint32_t(i % 16) << 4 * (i / 16);
    word = i < 128 ? alone : word * 1664525 + 1013904223;
    for (const uint32_t w : {word, i < 128 ? ~alone : ~word}) {
      check_all<bf16>(w);
      check_all<fp16>(w);
      check_all<e4m3>(w);
      check_all<float>(w);
    }
  }
}
