// Stored elements as floats, and floats as bfloat16; compiled once per instruction set.
#pragma once

#include "convert/tile.h"

namespace opswap::convert::OPSWAP_ISA {

void decode(const StoredTile &tile, float *out);
void unpack(const Lines &lines, float *out);
void round_bf16(const float *in, uint16_t *out, int64_t n);

}  // namespace opswap::convert::OPSWAP_ISA
