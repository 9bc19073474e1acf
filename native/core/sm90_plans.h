// How a room plans its kernels' work on the host, where it has several ways to: what it fills for OPSWAP_SM90_PLANS.
#pragma once

#include "plan_hooks.h"

// The ways to plan these kernels' work: `opswap tune` chooses among them, and a call may bring a plan of one.
#define OPSWAP_SM90_PLANS(op) Sm90Plans<op##_args> op##_sm90_plans()

namespace opswap {

// As PlanHooks, with the room's own arguments; and the plan that a call without one would make.
template <class Args>
struct Sm90Plans {
  size_t size = 0;
  const char *(*plan)(const Args &, const opswap_exec &, void *plan) = nullptr;
  const char *(*list)(const Args &, const opswap_exec &, const char *device, PlanWays &) = nullptr;
  const char *(*make)(const Args &, const opswap_exec &, std::string_view way, void *plan) = nullptr;
  const char *(*read)(std::string_view key, std::string_view way, const char *device, PlanChoice &) = nullptr;
};

}  // namespace opswap
