// What lies in front of a launch in its stream, for programmatic launches: until dependency_wait() the kernels in front
// may still be at work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator/device.h"

namespace opswap::emu {

class Ranges {  // of addresses
 public:
  void add(uint64_t begin, uint64_t bytes);
  bool meet(uint64_t begin, uint64_t bytes);

 private:
  struct Range {
    uint64_t begin, end;
  };
  void sort();
  std::vector<Range> ranges_;
  bool sorted_ = true;
};

struct Touched {  // global memory by one kernel
  std::string kernel;
  Ranges read, written;
};

// Of one launch.
struct Dependency {
  std::vector<Touched> in_front;  // kernels that may not have ended
  bool programmatic = false;
  bool waited = false;    // some thread has
  bool let_only = false;  // each block let the next kernel start before it had waited itself
  Touched touched;        // by this one
};

bool stream_is_open();
Dependency start_in_stream(const char *kernel, bool programmatic);
std::string end_in_stream(Dependency &&dependency);  // what was wrong, or nothing

// By a thread that has not waited: fails if a kernel in front is not done with these bytes.
void check_in_front(const void *p, uint64_t bytes, Access kind);

}  // namespace opswap::emu
