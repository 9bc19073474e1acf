// Pairs of blocks that bring their columns together by multicast; the last one has a tile outside of out.
#include "bugs/drive_product_dense.h"

namespace {

opswap::emu::bugs::Outcome drive(uint64_t seed) {
  opswap::emu::options().seed = seed;
  return opswap::OPSWAP_PASS::run<opswap::OPSWAP_PASS::kWide>(300, 136, 448, 1, 4, true);
}

const opswap::emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
