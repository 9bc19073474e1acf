// A handler of SIGSEGV and SIGBUS that writes the line of the region which was touched, and dies of the same signal.
#include "fault_lines.h"

#include <pybind11/stl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace {

struct Region {
  uintptr_t begin, end;
  std::string line;
};

// Written by `set_lines` alone, which is not called while an op runs; the handler only reads.
std::vector<Region> regions;
int descriptor = -1;

void on_fault(int number, siginfo_t *info, void *) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Region &region : regions)
    if (at >= region.begin && at < region.end) {
      [[maybe_unused]] const ssize_t written = ::write(descriptor, region.line.data(), region.line.size());
      break;
    }
  // The access is repeated when this returns, and then ends the process.
  ::signal(number, SIG_DFL);
}

void set_lines(int fd, const std::vector<std::tuple<uintptr_t, uintptr_t, std::string>> &given) {
  regions.clear();
  for (const auto &[begin, end, line] : given) regions.push_back({begin, end, line});
  descriptor = fd;
  struct sigaction action{};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &action, nullptr);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

void opswap_faults::define(pybind11::module_ &m) {
  m.def("fault_lines", &set_lines, pybind11::arg("fd"), pybind11::arg("regions"));
}
