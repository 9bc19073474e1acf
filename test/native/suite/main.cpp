// opswap_tests NAME runs one test; the exit status is its verdict.
#include "harness.h"

int main(int argc, char **argv) {
  const auto found = argc == 2 ? tests().find(argv[1]) : tests().end();
  if (found == tests().end()) {
    std::fprintf(stderr, "usage: opswap_tests NAME, where NAME is one of:\n");
    for (const auto &[test, body] : tests()) std::fprintf(stderr, "  %s\n", test.c_str());
    return 2;
  }
  found->second();
  std::printf("%s passed\n", argv[1]);
  return 0;
}
