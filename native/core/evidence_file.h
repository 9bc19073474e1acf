// One file of evidence from a user's card: what of it counts for the kernels of this build.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace opswap {

// What the generator knows of an op's kernels.
struct KernelSources {
  const char *op;
  const char *digest;  // of what they were compiled from
  int32_t cases;       // cases of op.json in every dtype
  const char *dtypes;  // "variable:dtype" of each dtype of each type variable
};

// The generator's table; without kernels it is empty.
extern const KernelSources kKernelSources[];
extern const int32_t kKernelSourceCount;

// What a file says that counts.
struct CardEvidence {
  std::string op, model, device, date;
  bool timed = false;
};

constexpr size_t kMostEvidenceBytes = 1 << 20;

// "" and the facts, or why the file is refused and what to do. `place` is its folder and name: MODEL/OP.json.
std::string read_evidence(std::string_view place, std::string_view text, const KernelSources *sources, int32_t count,
                          CardEvidence &out);

}  // namespace opswap
