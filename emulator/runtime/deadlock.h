// What is told of threads that wait for ever.
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
