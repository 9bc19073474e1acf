// SHA-256 as FIPS 180-4 states it; the constants are derived as it says, from the first primes.
#include "sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>

namespace opswap {
namespace {

constexpr size_t kBlock = 64;
using State = std::array<uint32_t, 8>;

// The first 32 bits behind the point of a prime's square or cube root; long double has more digits than they need.
uint32_t fraction(long double root) { return uint32_t((root - std::floor(root)) * 4294967296.0L); }

struct Constants {
  State start{};
  std::array<uint32_t, 64> round{};

  Constants() {
    size_t found = 0;
    for (int n = 2; found < round.size(); ++n) {
      bool prime = true;
      for (int d = 2; d * d <= n; ++d) prime = prime && n % d;
      if (!prime) continue;
      if (found < start.size()) start[found] = fraction(std::sqrt((long double)n));
      round[found++] = fraction(std::cbrt((long double)n));
    }
  }
};

const Constants &constants() {
  static const Constants made;
  return made;
}

uint32_t word_at(const unsigned char *p) {
  return uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | uint32_t(p[3]);
}

void compress(State &state, const unsigned char *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) w[i] = word_at(block + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + constants().round[size_t(i)] + w[i];
    const uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const State added = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < state.size(); ++i) state[i] += added[i];
}

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  std::string tail(bytes.substr(bytes.size() / kBlock * kBlock));
  tail += char(0x80);
  while (tail.size() % kBlock != kBlock - 8) tail += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) tail += char(uint64_t(bytes.size()) * 8 >> shift);
  State state = constants().start;
  const auto take = [&state](std::string_view whole) {
    for (size_t at = 0; at + kBlock <= whole.size(); at += kBlock)
      compress(state, reinterpret_cast<const unsigned char *>(whole.data() + at));
  };
  take(bytes);
  take(tail);
  std::string hex;
  for (const uint32_t word : state) {
    char text[9];
    std::snprintf(text, sizeof text, "%08x", word);
    hex += text;
  }
  return hex;
}

}  // namespace opswap
