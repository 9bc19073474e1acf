// Plan files: for a device model, which of its ways an implementation plans a call by, as `opswap tune` found it
// (docs/tune.md). They are data of the user's, read once, checked whole, and bounded; a way that the kernels have not
// is refused with the reason, and a file of other kernels is void.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan_hooks.h"

namespace opswap {

// The way that a plan file of this device has for the call, or nullptr: the implementation goes by its model.
const int64_t *tuned_choice(const char *op, const char *implementation, const PlanKey &key);

// For `why`: a remark on each plan file that has something of an implementation, also where it is void.
std::vector<std::string> tuned_remarks(const char *op, const char *implementation);

}  // namespace opswap
