// What a thread has under way in matrix products, and what it must not do beside them.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "block.h"
#include "emulator/async.h"
#include "race.h"

namespace opswap::emu {

struct Accumulator {
  float *d;
  std::vector<float> values;
  size_t last;  // product that writes it last
};

struct ARegisters {
  const uint32_t *at;
  std::array<uint32_t, 4> was;
  size_t product;
  const void *asked;  // where
};

struct Issuer {  // a thread
  size_t issued = 0;
  bool fenced = false;          // since the last group was committed or waited for
  const void *asked = nullptr;  // where the last product was
  std::vector<size_t> groups;   // products issued when each group was committed
  std::vector<Accumulator> accumulators;
  std::vector<ARegisters> held;
};

// A swizzle's pattern is 8 rows high and starts anew at multiples of that. A tile may start at another row of it only
// with a base offset, which matrix_descriptor() does not make; inside of the first row is a step along the row.
inline void check_pattern(uint64_t descriptor, const char *operand) {
  const uint32_t mode = uint32_t(descriptor >> 62), base = uint32_t(descriptor >> 49 & 7);
  if (!mode) return;
  const uint32_t width = 16u << (4 - mode), start = uint32_t(descriptor & 0x3fff) << 4;
  if (base) fail("wgmma: the descriptor of %s has base offset %u, the emulator knows only 0", operand, base);
  if (const uint32_t off = start % (8 * width); off >= width)
    fail(
        "wgmma: %s starts at byte %u of shared memory, %u behind a multiple of %u, where its swizzle of %u bytes "
        "starts anew, and the descriptor's base offset is 0",
        operand, start, off, 8 * width, width);
}

// What orders the thread's own accesses of a product's registers before it: a fence of its group or, for accumulators
// alone, a product under way that adds to the same ones.
inline void check_fenced(const Issuer &issuer, const MatrixProduct &p) {
  if (issuer.fenced) return;
  if (issuer.accumulators.empty()) fail("wgmma: no wgmma_fence() before the first product that uses these registers");
  const bool in_turn = std::any_of(issuer.accumulators.begin(), issuer.accumulators.end(),
                                   [&](const Accumulator &acc) { return acc.d == p.d; });
  if (!in_turn || p.a_in_registers)
    fail(
        "wgmma: a group is under way, and since the last wgmma_commit() or wgmma_wait() there was no wgmma_fence() "
        "for the %s of this product",
        in_turn ? "A registers" : "accumulators");
}

inline void check_registers(const ARegisters &a) {
  const bool ended = race::poisoned(a.at, sizeof a.was);
  if (!ended && !std::memcmp(a.at, a.was.data(), sizeof a.was)) return;
  const std::string line = line_at(a.asked);
  fail("wgmma: A registers of the product%s%s were changed%s before wgmma_wait()", line.empty() ? "" : " at ",
       line.c_str(), ended ? ", their variable having ended," : "");
}

}  // namespace opswap::emu
