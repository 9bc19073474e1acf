// Cases that register themselves; `emulator_tests NAME` runs one, without a name all.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "emulator/emulator.h"

namespace opswap::emu::test {

// The larger error; a NaN is the largest, and stays.
inline double worse(double worst, double error) { return error <= worst || worst != worst ? worst : error; }

std::map<std::string, void (*)()> &cases();
void expect(bool ok, const char *file, int line, const std::string &what);
void expect_found(const Report &report, const std::string &words, const char *file, int line);

struct Case {
  Case(const char *name, void (*body)()) { cases()[name] = body; }
};

}  // namespace opswap::emu::test

#define CASE(name)                                                 \
  static void name();                                              \
  static const ::opswap::emu::test::Case case_##name(#name, name); \
  static void name()
#define EXPECT(condition) ::opswap::emu::test::expect(condition, __FILE__, __LINE__, #condition)
#define EXPECT_CLEAN(...) ::opswap::emu::test::expect_found(__VA_ARGS__, "", __FILE__, __LINE__)
#define EXPECT_FOUND(words, ...) ::opswap::emu::test::expect_found(__VA_ARGS__, words, __FILE__, __LINE__)
