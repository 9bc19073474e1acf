// The instances of a room's kernels, one per dtype, as the generated glue sees them.
#pragma once

#include "sm90_plans.h"
#ifdef OPSWAP_EMULATE
#include "emulator/emulator.h"
#endif

// Under a sanitizer the emulator's build leaves out instances that are another's code with another type of 16 bits.
#ifdef OPSWAP_FEWER_INSTANCES
#define OPSWAP_INSTANCE [[gnu::weak, gnu::visibility("hidden")]]
#else
#define OPSWAP_INSTANCE
#endif

namespace opswap {

template <class Args>
struct Sm90 {
  opswap_status (*run)(const Args &, const opswap_exec &) = nullptr;  // nullptr: the instance is not there
  const char *(*can)(const Args &) = nullptr;                         // nullptr: the room states none
  size_t (*workspace)(const Args &, const opswap_exec &) = nullptr;   // nullptr: none needed
  Sm90Plans<Args> (*plans)() = nullptr;                               // nullptr: there is one way to plan
};

// One implementation `sm90` out of all instances; `pick` chooses by the arguments' dtype.
template <class Args, Sm90<Args> (*pick)(const Args &)>
ImplRecord sm90_record(const char *op, const Evidence &evidence) {
  constexpr int32_t kPriority = 20;
  return {.op = op,
          .name = "sm90",
          .isa = Isa::portable,
          .priority = kPriority,
          .device_type = kDLCUDA,
          .run =
              [](const void *args, const opswap_exec &exec) {
                const Args &a = *static_cast<const Args *>(args);
#ifdef OPSWAP_EMULATE
                const emu::Stream stream;
#endif
                return pick(a).run(a, exec);
              },
          .can = [](const void *args) -> const char * {
            const Args &a = *static_cast<const Args *>(args);
            const Sm90<Args> instance = pick(a);
            if (!instance.run) return "its kernels have no instance for this dtype";
            return instance.can ? instance.can(a) : nullptr;
          },
          .workspace = [](const void *args, const opswap_exec &exec) -> size_t {
            const Args &a = *static_cast<const Args *>(args);
            const Sm90<Args> instance = pick(a);
            return instance.workspace ? instance.workspace(a, exec) : 0;
          },
          .evidence = evidence};
}

// Makes `record` one with plans, where the room says OPSWAP_SM90_PLANS. A plan file has no arguments, and all instances
// read it alike, so `first` does.
template <class Args, Sm90<Args> (*pick)(const Args &), Sm90<Args> (*first)()>
struct RegisterSm90Plans {
  explicit RegisterSm90Plans(ImplRecord &record) {
    if (!first().plans) return;
    record.plan_size = [](const void *args, const opswap_exec &) -> size_t {
      const Sm90<Args> instance = pick(*static_cast<const Args *>(args));
      return instance.plans ? instance.plans().size : 0;
    };
    record.plan = [](const void *args, const opswap_exec &exec, void *plan) -> opswap_status {
      const Args &a = *static_cast<const Args *>(args);
      const char *why = with_plans(a, [&](const Sm90Plans<Args> &plans) { return plans.plan(a, exec, plan); });
      return why ? fail(OPSWAP_E_PLAN, "this call cannot be planned: %s", why) : opswap_status{OPSWAP_OK};
    };
    static PlanHooksRecord hooks{record.op, record.name, {.list = list, .make = make, .read = read}};
    static const RegisterPlanHooks registered{hooks};
  }

  static const char *list(const void *args, const opswap_exec &exec, const char *device, PlanWays &out) {
    const Args &a = *static_cast<const Args *>(args);
    return with_plans(a, [&](const Sm90Plans<Args> &plans) { return plans.list(a, exec, device, out); });
  }
  static const char *make(const void *args, const opswap_exec &exec, std::string_view way, void *plan) {
    const Args &a = *static_cast<const Args *>(args);
    return with_plans(a, [&](const Sm90Plans<Args> &plans) { return plans.make(a, exec, way, plan); });
  }
  static const char *read(std::string_view key, std::string_view way, const char *device, PlanChoice &out) {
    return first().plans().read(key, way, device, out);
  }

  // What body(plans) says of the instance for a call's dtype, if there is one: who asks may not have asked `can`.
  template <class Body>
  static const char *with_plans(const Args &a, Body &&body) {
    const Sm90<Args> instance = pick(a);
    return instance.plans ? body(instance.plans()) : "its kernels have no instance for this dtype";
  }
};

}  // namespace opswap
