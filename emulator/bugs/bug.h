// Registers a drive, which runs a kernel, clean or with a seeded bug, under a seed and says what was found.
#pragma once

#include <map>
#include <string>

#include "emulator/emulator.h"

namespace opswap::emu::bugs {

struct Outcome {
  Report report;
  std::string wrong;  // the first value that is not what it must be
};

using Drive = Outcome (*)(uint64_t seed);
std::map<std::string, Drive> &drives();

struct Registered {
  Registered(const char *name, Drive drive) { drives()[name] = drive; }
};

// What the counters of this shape may not exceed, as words of a report.
inline void expect_at_most(Outcome &o, const char *what, uint64_t most, uint64_t came) {
  if (o.report && o.wrong.empty() && came > most)
    o.wrong = std::string(what) + ": at most " + std::to_string(most) + ", came " + std::to_string(came) + ", at " +
              o.report.conflicts_at;
}

}  // namespace opswap::emu::bugs
