// A room's kernel, shipped or with an edit: what its drives have in common.
#pragma once

#include <cmath>
#include <vector>

#include "bugs/bug.h"
#include "common/device/scalar.h"
#include "rooms/room.h"

namespace opswap::emu::bugs {

// One SM, so that blocks go round.
inline opswap_exec one_sm(void *workspace = nullptr, size_t bytes = 0) {
  return {.struct_size = sizeof(opswap_exec), .sm_budget = 1, .workspace = workspace, .workspace_size = bytes};
}

}  // namespace opswap::emu::bugs
