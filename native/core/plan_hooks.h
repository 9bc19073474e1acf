// Implementations that have several ways to plan a call: what the library asks of them. Core knows the ways as text,
// and as numbers that are the implementation's own affair.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "registration.h"

namespace opswap {

// A call as plans are kept for it.
struct PlanKey {
  int64_t of[4];
  bool operator==(const PlanKey &) const = default;
};

// A key, and the way to plan its calls.
struct PlanChoice {
  PlanKey key;
  int64_t way;
};

// The ways to plan a call, by a model of a device.
struct PlanWays {
  struct Way {
    std::string name;
    int64_t cycles;  // of the slowest SM, modelled
  };
  std::string key;          // as a plan file has it
  std::vector<Way> ways;    // in any order
  std::string taken;        // the way that the call takes
  bool tuned = false;       // because a plan file says so
  int64_t free_cycles = 0;  // of the best way, where the call asked for what not all ways give; else 0
};

// Each function returns nullptr, or why not.
struct PlanHooks {
  // `device` is a device model, or nullptr: the device of the call.
  const char *(*list)(const void *args, const opswap_exec &exec, const char *device, PlanWays &out);
  // The plan of one of these ways, in the record's plan_size bytes.
  const char *(*make)(const void *args, const opswap_exec &exec, std::string_view way, void *plan);
  // What a plan file says, in numbers.
  const char *(*read)(std::string_view key, std::string_view way, const char *device, PlanChoice &out);
};

// Those of one implementation; a static object, as its record is.
struct PlanHooksRecord {
  const char *op;
  const char *name;  // of the implementation
  PlanHooks hooks;
  PlanHooksRecord *next = nullptr;
};
struct RegisterPlanHooks {
  explicit RegisterPlanHooks(PlanHooksRecord &record);
};

// nullptr: it has one way, or makes no plans.
const PlanHooks *plan_hooks_of(std::string_view op, std::string_view name);

}  // namespace opswap
