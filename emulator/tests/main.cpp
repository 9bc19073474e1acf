// The emulator's test program: runs one case or all, and counts what failed.
#include <cstdio>
#include <cstring>

#include "check.h"

namespace opswap::emu::test {
namespace {
int failures = 0;
}

std::map<std::string, void (*)()> &cases() {
  static std::map<std::string, void (*)()> all;
  return all;
}

void expect(bool ok, const char *file, int line, const std::string &what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

// No words: nothing may be found. Else the report must say them.
void expect_found(const Report &report, const std::string &words, const char *file, int line) {
  const bool ok = words.empty() ? report.error.empty() : report.error.find(words) != std::string::npos;
  expect(ok, file, line,
         (words.empty() ? "expected no report" : "expected \"" + words + "\"") + ", came \"" + report.error + "\"");
}

}  // namespace opswap::emu::test

int main(int argc, char **argv) {
  using namespace opswap::emu::test;
  if (argc > 1 && !std::strcmp(argv[1], "--list")) {
    for (const auto &[name, body] : cases()) std::puts(name.c_str());
    return 0;
  }
  int ran = 0;
  for (const auto &[name, body] : cases()) {
    if (argc > 1 && name != argv[1]) continue;
    opswap::emu::options() = {};
    body();
    ++ran;
  }
  if (!ran) std::fprintf(stderr, "no case %s\n", argc > 1 ? argv[1] : "");
  return failures || !ran;
}
