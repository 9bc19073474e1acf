// Recodes numbers without rounding: sign bits flipped, bfloat16 widened to float32 and narrowed again.
#include "convert/recode.h"

namespace opswap::convert {
namespace {

void flip(const uint8_t *in, uint8_t *out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] ^ 0x88;
}

void widen(const uint16_t *in, uint32_t *out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = uint32_t(in[i]) << 16;
}

int64_t narrow(const uint32_t *in, uint16_t *out, int64_t n, int64_t &first) {
  int64_t lost = 0;
  for (int64_t i = 0; i < n; ++i) {
    out[i] = uint16_t(in[i] >> 16);
    lost += (in[i] & 0xffff) != 0;
  }
  if (lost > 0)
    for (first = 0; (in[first] & 0xffff) == 0;) ++first;
  return lost;
}

}  // namespace

int64_t recode(Code code, const void *in, void *out, int64_t elements, int64_t &first) {
  switch (code) {
    case Code::flip:
      flip(static_cast<const uint8_t *>(in), static_cast<uint8_t *>(out), elements);
      return 0;
    case Code::widen:
      widen(static_cast<const uint16_t *>(in), static_cast<uint32_t *>(out), elements);
      return 0;
    case Code::narrow:
      return narrow(static_cast<const uint32_t *>(in), static_cast<uint16_t *>(out), elements, first);
    default:
      return 0;
  }
}

}  // namespace opswap::convert
