// The ways in which an implementation can plan a call, with what each is modelled to take, and a plan of one of them.
// No card is needed, and the tensors' data is not looked at.
#include <algorithm>
#include <string>

#include "device.h"
#include "json.h"
#include "opswap_plans.h"
#include "plan.h"
#include "plan_hooks.h"
#include "registry.h"

namespace opswap {
namespace {

// The implementation that `exec` names, else the first of the op's that has ways to choose from.
Impl *planner(Op &op, const opswap_exec *exec) {
  if (exec && exec->impl) return find_impl(op, exec->impl);
  for (int32_t i = 0; i < op.count.load(std::memory_order_acquire); ++i)
    if (plan_hooks_of(op.spec->name, op.impls[i]->name)) return op.impls[i];
  return op.active.load(std::memory_order_acquire);
}

// A call for which plans are asked: its arguments are checked, and the implementation says that it takes them.
struct Asked {
  opswap_exec exec{sizeof(opswap_exec)};
  Op *op = nullptr;
  Impl *impl = nullptr;
  const PlanHooks *hooks = nullptr;
  Bound bound;

  opswap_status take(const char *name, const opswap_arg *args, int32_t nargs, const opswap_exec *given) {
    if (given && given->struct_size < sizeof(opswap_exec))
      return fail(OPSWAP_E_ABI, "opswap_exec has %u bytes, this build needs %zu", given->struct_size, sizeof exec);
    if (given) exec = *given;
    op = find_op(name);
    if (!op) return OPSWAP_E_NO_OP;
    impl = planner(*op, given);
    if (!impl) return given && given->impl ? OPSWAP_E_NO_IMPL : refuse("no implementation of it can run here");
    hooks = plan_hooks_of(op->spec->name, impl->name);
    if (!hooks)
      return fail(OPSWAP_E_PLAN, "%s: implementation '%s' has one way to plan a call, so there is none to choose", name,
                  impl->name);
    if (opswap_status e = bind(*op, args, nargs, bound)) return e;
    if (bound.base().device_type != impl->device_type) return refuse("the tensors are on another device");
    const char *why = impl->record->can ? impl->record->can(bound.args) : nullptr;
    return why ? refuse(why) : opswap_status{OPSWAP_OK};
  }

  opswap_status refuse(const char *why) const {
    return fail(OPSWAP_E_UNUSABLE, "%s: implementation '%s' has no ways to plan this call: %s", op->spec->name,
                impl ? impl->name : "", why);
  }
};

std::string ways_json(const Asked &asked, const PlanWays &found) {
  std::string json = "{\"op\":" + quoted(asked.op->spec->name) + ",\"implementation\":" + quoted(asked.impl->name) +
                     ",\"key\":" + quoted(found.key.c_str()) + ",\"taken\":" + quoted(found.taken.c_str()) +
                     ",\"tuned\":" + (found.tuned ? "true" : "false") +
                     ",\"free_cycles\":" + std::to_string(found.free_cycles) + ",\"ways\":[";
  for (const PlanWays::Way &way : found.ways)
    json += (&way == &found.ways.front() ? "" : ",") + ("{\"way\":" + quoted(way.name.c_str())) +
            ",\"cycles\":" + std::to_string(way.cycles) + "}";
  return json + "]}";
}

}  // namespace
}  // namespace opswap

using namespace opswap;

extern "C" {

opswap_status opswap_plan_ways(const char *name, const opswap_arg *args, int32_t nargs, const opswap_exec *exec,
                               const char *device, char *buf, size_t *size) {
  Asked asked;
  if (opswap_status e = asked.take(name, args, nargs, exec)) return e;
  if (!device && device_refusal(0)) return asked.refuse("there is no card that runs its kernels; name a device");
  PlanWays found;
  if (const char *why = asked.hooks->list(asked.bound.args, asked.exec, device, found)) return asked.refuse(why);
  std::stable_sort(found.ways.begin(), found.ways.end(), [](auto &a, auto &b) { return a.cycles < b.cycles; });
  return copy_out("opswap_plan_ways", ways_json(asked, found), buf, size);
}

opswap_status opswap_plan_as(const char *name, const opswap_arg *args, int32_t nargs, const opswap_exec *exec,
                             const char *way, void *buf, size_t *size) {
  if (!size || !way) return fail(OPSWAP_E_NULL, "opswap_plan_as: way or size is null");
  Asked asked;
  if (opswap_status e = asked.take(name, args, nargs, exec)) return e;
  const size_t room = *size;
  *size = plan_size(*asked.impl, asked.bound, asked.exec);
  if (!buf) return OPSWAP_OK;
  if (room < *size) return fail(OPSWAP_E_BUFFER, "opswap_plan_as: %s needs %zu bytes, got %zu", name, *size, room);
  const char *why = asked.hooks->make(asked.bound.args, asked.exec, way,
                                      begin_plan(*asked.op, *asked.impl, asked.bound, asked.exec, buf));
  return why ? fail(OPSWAP_E_PLAN, "%s: implementation '%s' cannot plan this call as '%s': %s", name, asked.impl->name,
                    way, why)
             : opswap_status{OPSWAP_OK};
}
}
