// Describes a deadlock: which threads of a cluster wait for ever, for what and where.
#pragma once

#include <string>

#include "block.h"

namespace opswap::emu {

struct Deadlock {
  std::string text, place;  // place: of the first that waits
};
// `where` asks a thread for the line on which it waits.
Deadlock tell_deadlock(Cluster &cluster, std::string (*where)(Thread &));

}  // namespace opswap::emu
