// A room's kernel, shipped or with an edit: what its drives have in common.
#pragma once

#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "common/device/scalar.h"
#include "rooms/room.h"

namespace opswap::emu::bugs {

// One SM, so that blocks go round.
inline opswap_exec one_sm() { return {.struct_size = sizeof(opswap_exec), .sm_budget = 1}; }

// In front of the room's kernels is one that is not done with this tensor.
template <class T>
void in_front(const std::vector<T> &tensor) {
  emu::in_front(tensor.data(), tensor.size() * sizeof(T));
}

}  // namespace opswap::emu::bugs
