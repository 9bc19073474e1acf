// Chooses among the passes, one compiled per instruction set: the best that this CPU has, or one by name.
#include <cstring>
#include <iterator>

#include "convert/tile.h"

namespace opswap::convert {

#define X(isa)               \
  namespace isa_##isa {      \
    extern const Pass kPass; \
  }
OPSWAP_CONVERT_ISAS
#undef X

namespace {

const Pass *const kPasses[] = {
#define X(isa) &isa_##isa::kPass,
    OPSWAP_CONVERT_ISAS
#undef X
};

bool runs_here(const char *isa) {
#if defined(__x86_64__)
  if (std::strcmp(isa, "avx2") == 0) return __builtin_cpu_supports("x86-64-v3");
  if (std::strcmp(isa, "avx512") == 0) return __builtin_cpu_supports("x86-64-v4");
#endif
  return std::strcmp(isa, "portable") == 0;
}

}  // namespace

const Pass *pass_named(const char *isa) {
  for (const Pass *pass : kPasses)
    if (std::strcmp(pass->isa, isa) == 0 && runs_here(isa)) return pass;
  return nullptr;
}

const Pass &best_pass() {
  static const Pass &best = []() -> const Pass & {
    const Pass *found = kPasses[0];
    for (const Pass *pass : kPasses)
      if (runs_here(pass->isa)) found = pass;
    return *found;
  }();
  return best;
}

}  // namespace opswap::convert
