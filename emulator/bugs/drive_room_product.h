// Tiles of 128 columns whose rows go out by TMA: more of them than blocks, more steps than stages, ragged edges.
#include "bugs/drive_product_dense.h"

namespace {

opswap::emu::bugs::Outcome drive(uint64_t seed) {
  opswap::emu::options().seed = seed;
  return opswap::OPSWAP_PASS::run<opswap::OPSWAP_PASS::kWide>(300, 136, 448, 1, 2);
}

const opswap::emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
