// Few tokens: rows of weight are the rows of a tile, and two blocks of a cluster split K.
#include "bugs/drive_product_dense.h"

namespace {

opswap::emu::bugs::Outcome drive(uint64_t seed) {
  opswap::emu::options().seed = seed;
  return opswap::OPSWAP_PASS::run<opswap::OPSWAP_PASS::kTurned>(13, 200, 1472, 2, 4);
}

const opswap::emu::bugs::Registered registered(OPSWAP_BUG, drive);

}  // namespace
