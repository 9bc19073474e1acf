// ldmatrix and stmatrix: all lanes meet, then each moves what is its own.
#include <cstring>

#include "block.h"

namespace opswap::emu {

namespace {

// Element `e` (of two) of this lane in matrix m lies in this row at this byte.
struct Spot {
  int row, byte;
};
Spot spot(bool transposed, uint32_t lane, int e) {
  const int along = int(lane / 4), pair = int(lane % 4) * 2 + e;
  return transposed ? Spot{pair, along * 2} : Spot{along, pair * 2};
}

void check_row(const void *row, const char *what) {
  check_smem(row, 16, what);
  if (smem_address(row) % 16) fail("%s: the row at byte %u is not a multiple of 16", what, smem_address(row));
}

// The rows that all lanes name. What is moved afterwards are accesses of the thread, which ThreadSanitizer must see.
const uint64_t *meet(const void *row, int count, const void *site, Access kind) {
  race::Ignore ignore;
  const char *what = kind == Access::kLoad ? "ldmatrix" : "stmatrix";
  if (int(self().lane) < count * 8) {
    check_row(row, what);
    note_access(site, row, 16, kind);  // each matrix is a pass of 8 lanes with 16 bytes
  }
  return collective(0xffffffffu, Collective::kMatrix, reinterpret_cast<uint64_t>(row));
}

}  // namespace

void ldmatrix(uint32_t *registers, int count, bool transposed, const void *row) {
  const uint64_t *rows = meet(row, count, __builtin_return_address(0), Access::kLoad);
  for (int m = 0; m < count; ++m) {
    uint16_t pair[2];
    for (int e = 0; e < 2; ++e) {
      const Spot at = spot(transposed, self().lane, e);
      const char *from = reinterpret_cast<const char *>(rows[m * 8 + at.row]) + at.byte;
      race::read(from, 2);
      std::memcpy(&pair[e], from, 2);
    }
    registers[m] = uint32_t(pair[0]) | uint32_t(pair[1]) << 16;
  }
}

void stmatrix(void *row, const uint32_t *registers, int count, bool transposed) {
  const uint64_t *rows = meet(row, count, __builtin_return_address(0), Access::kStore);
  for (int m = 0; m < count; ++m)
    for (int e = 0; e < 2; ++e) {
      const Spot at = spot(transposed, self().lane, e);
      char *to = reinterpret_cast<char *>(rows[m * 8 + at.row]) + at.byte;
      const uint16_t value = uint16_t(registers[m] >> (16 * e));
      race::write(to, 2);
      std::memcpy(to, &value, 2);
    }
}

}  // namespace opswap::emu
