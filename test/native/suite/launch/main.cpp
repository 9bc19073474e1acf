// The words of a launch that fails, whole however long they are; the frame's own sources, since the library shows none.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"
#include "kernel_launch.h"

using namespace opswap;

namespace {

int failures = 0;

void expect(bool right, const char *what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s; last error: %s\n", what, opswap_last_error());
  failures += 1;
}

bool ends_with(const std::string &text, const char *end) {
  return text.size() >= std::strlen(end) && text.compare(text.size() - std::strlen(end), std::string::npos, end) == 0;
}

void many_arguments() {
  const std::vector<int64_t> values(200, 1234567890123456789);
  std::vector<KernelArgument> args;
  for (const int64_t &v : values) args.push_back({&v, sizeof v, 'i'});
  const Kernel kernel{"op", "many_kernel", args.data(), int32_t(args.size())};
  expect(check_geometry(kernel, {.block = {2048}}) == OPSWAP_E_LAUNCH, "2048 threads are refused");
  const std::string text = opswap_last_error();
  size_t found = 0;
  for (size_t at = 0; (at = text.find("1234567890123456789", at)) != std::string::npos; ++at) ++found;
  expect(found == values.size(), "every argument is named");
  expect(ends_with(text, ")"), "the message has its end");
}

void long_report() {
  const std::string report = std::string(20000, 'x') + " end";
  fail(OPSWAP_E_LAUNCH, "%s", report.c_str());
  expect(opswap_last_error() == report, "a report of 20004 letters is whole");
  fail(OPSWAP_E_LAUNCH, "again: %s", opswap_last_error());
  expect(opswap_last_error() == "again: " + report, "a message may quote the one before");
  fail(OPSWAP_E_LAUNCH, "short");
  expect(!std::strcmp(opswap_last_error(), "short"), "a short message follows a long one");
}

}  // namespace

int main() {
  many_arguments();
  long_report();
  return failures ? 1 : 0;
}
