// XXH64, the published 64-bit checksum: fast without any instruction set, and every tool has it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace opswap::convert {

namespace xxh64 {

constexpr uint64_t kPrimes[] = {0,
                                0x9E3779B185EBCA87ull,
                                0xC2B2AE3D27D4EB4Full,
                                0x165667B19E3779F9ull,
                                0x85EBCA77C2B2AE63ull,
                                0x27D4EB2F165667C5ull};

template <class T>
inline T read(const uint8_t *p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline uint64_t round(uint64_t lane, uint64_t input) { return std::rotl(lane + input * kPrimes[2], 31) * kPrimes[1]; }

inline uint64_t stripes(const uint8_t *&p, const uint8_t *end, uint64_t seed) {
  uint64_t lanes[4] = {seed + kPrimes[1] + kPrimes[2], seed + kPrimes[2], seed, seed - kPrimes[1]};
  for (; end - p >= 32; p += 32)
    for (int i = 0; i < 4; ++i) lanes[i] = round(lanes[i], read<uint64_t>(p + 8 * i));
  uint64_t h = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
  for (uint64_t lane : lanes) h = (h ^ round(0, lane)) * kPrimes[1] + kPrimes[4];
  return h;
}

}  // namespace xxh64

inline uint64_t digest_of(const void *data, size_t bytes, uint64_t seed = 0) {
  using namespace xxh64;
  const uint8_t *p = static_cast<const uint8_t *>(data), *end = p + bytes;
  uint64_t h = (bytes >= 32 ? stripes(p, end, seed) : seed + kPrimes[5]) + bytes;
  for (; end - p >= 8; p += 8) h = std::rotl(h ^ round(0, read<uint64_t>(p)), 27) * kPrimes[1] + kPrimes[4];
  for (; end - p >= 4; p += 4) h = std::rotl(h ^ read<uint32_t>(p) * kPrimes[1], 23) * kPrimes[2] + kPrimes[3];
  for (; p < end; ++p) h = std::rotl(h ^ *p * kPrimes[5], 11) * kPrimes[1];
  h = (h ^ h >> 33) * kPrimes[2];
  h = (h ^ h >> 29) * kPrimes[3];
  return h ^ h >> 32;
}

}  // namespace opswap::convert
