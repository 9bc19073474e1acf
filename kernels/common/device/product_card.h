// What a plan of products has to know of a card: plain constants, so that a plan for one card can be made on another.
// SMs, L2 and bandwidth are those of evidence/devices.json, which a test holds against these. Clocks are the boost
// clocks that the data sheets' rates go with; the tensor rate of an H20 is its data sheet's over an H100's.
#pragma once

#include <cstdint>

namespace opswap {

struct ProductCard {
  const char *name;
  int sms;
  int memory;  // hundredths of a byte that each SM gets from memory in a clock, all of them asking
  int l2_mb;
  int tensor_clocks;  // clocks of tensor cores for what takes an H100 one
};

// Bandwidth over SMs and clock: 4000 GB/s / 78 / 1.98 GHz, 3350 GB/s / 132 / 1.755 GHz, 4800 GB/s / 132 / 1.755 GHz.
static constexpr ProductCard kProductCards[] = {
    {"H20", 78, 2590, 60, 4}, {"H100", 132, 1446, 50, 1}, {"H200", 132, 2072, 50, 1}};
inline constexpr int kProductCardCount = int(sizeof kProductCards / sizeof *kProductCards);

// The card of an argument `card`: 1 and up by number, 0 the one that has so many SMs; an H100 where that is unknown.
constexpr int product_card(int64_t number, int64_t sms) {
  if (number > 0) return int(number) - 1;
  return sms == kProductCards[0].sms ? 0 : 1;
}

}  // namespace opswap
