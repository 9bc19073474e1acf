// bugs_BUILD NAME runs a kernel under several seeds and says whether what was found is what bugs.py expects.
#include <cstdio>
#include <cstring>

#include "bug.h"
#include "expected.gen.h"

using namespace opswap::emu::bugs;

namespace opswap::emu::bugs {
std::map<std::string, Drive> &drives() {
  static std::map<std::string, Drive> all;
  return all;
}
}  // namespace opswap::emu::bugs

namespace {

struct Tally {
  int named = 0, wrong = 0, other = 0, nothing = 0;
};

bool names(const std::string &found, const char *words, const char *place) {
  return words[0] && found.find(words) != std::string::npos &&
         found.find(std::string("at ") + place) != std::string::npos;
}

Tally run(const Expected &expected, int seeds) {
  Tally tally;
  for (int seed = 0; seed < seeds; ++seed) {
    const Outcome o = drives().at(expected.name)(uint64_t(seed));
    const std::string found = o.report ? o.wrong : o.report.error;
    if (found.empty())
      ++tally.nothing;
    else if (names(found, expected.words, expected.place) || names(found, expected.also, expected.also_place))
      ++tally.named;
    else
      ++(o.report ? tally.wrong : tally.other);
    std::printf("seed %d: %s\n", seed, found.empty() ? "nothing" : found.c_str());
  }
  return tally;
}

bool as_expected(const Expected &expected, const Tally &t, int seeds) {
  if (!expected.words[0]) return t.nothing == seeds;
  return t.named >= expected.seeds && t.named + t.nothing == seeds;
}

}  // namespace

int main(int argc, char **argv) {
  constexpr int kSeeds = 8;
  for (const Expected &expected : kExpected) {
    if (argc != 2 || std::strcmp(argv[1], expected.name)) continue;
    const Tally t = run(expected, kSeeds);
    std::printf("%s should say \"%s\": %d named, %d wrong results, %d other reports, %d nothing\n", expected.place,
                expected.words, t.named, t.wrong, t.other, t.nothing);
    return !as_expected(expected, t, kSeeds);
  }
  std::fprintf(stderr, "no kernel %s\n", argc > 1 ? argv[1] : "");
  return 1;
}
