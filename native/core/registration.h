// How a room's implementations and checks become known to the registry. Rooms see this part alone, so that they are not
// compiled anew when core changes.
#pragma once

#include <cstdint>

#include "error.h"
#include "types.h"

namespace opswap {

enum class Isa : int32_t { portable, avx2, avx512 };

using RunFn = opswap_status (*)(const void *args, const opswap_exec &exec);
using CheckFn = opswap_status (*)(const void *args);
using CanFn = const char *(*)(const void *args);  // nullptr, or the reason why not
using SizeFn = size_t (*)(const void *args, const opswap_exec &exec);
using PlanFn = opswap_status (*)(const void *args, const opswap_exec &exec, void *plan);

// What real cards have shown of an implementation (evidence/); all null for one that needs none.
struct Evidence {
  const char *experimental = nullptr;  // why it runs only when named
  const char *correct = nullptr;       // device models, as in "H100 H200"
  const char *timed = nullptr;
};

// One implementation as a room registers it; a static object in the room's translation unit, never destroyed.
struct ImplRecord {
  const char *op;
  const char *name;
  Isa isa;           // instruction set that the code was compiled for
  int32_t priority;  // highest usable one is active at load
  int32_t device_type;
  RunFn run;
  CanFn can = nullptr;
  SizeFn workspace = nullptr;
  SizeFn plan_size = nullptr;
  PlanFn plan = nullptr;
  Evidence evidence = {};
  ImplRecord *next = nullptr;
};

// A room's own check of values that op.json cannot say (page ids); runs before any implementation, CPU tensors only.
struct CheckRecord {
  const char *op;
  CheckFn check;
  CheckRecord *next = nullptr;
};

struct RegisterImpl {
  explicit RegisterImpl(ImplRecord &record);
};
struct RegisterCheck {
  explicit RegisterCheck(CheckRecord &record);
};

// Highest instruction set of this CPU, capped by the environment variable OPSWAP_CPU_ISA (portable, avx2, avx512).
Isa cpu_isa();
const char *isa_name(Isa isa);

}  // namespace opswap
