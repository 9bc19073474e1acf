// The list of implementations that have several ways to plan; filled when the library is loaded.
#include "plan_hooks.h"

namespace opswap {
namespace {

constinit PlanHooksRecord *records = nullptr;

}  // namespace

RegisterPlanHooks::RegisterPlanHooks(PlanHooksRecord &record) {
  record.next = records;
  records = &record;
}

const PlanHooks *plan_hooks_of(std::string_view op, std::string_view name) {
  for (const PlanHooksRecord *record = records; record; record = record->next)
    if (op == record->op && name == record->name) return &record->hooks;
  return nullptr;
}

}  // namespace opswap
