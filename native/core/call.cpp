// opswap_call and its relatives: find, check, run the active implementation, count.
#include <cstring>

#include "call.h"
#include "device.h"
#include "device_times.h"
#include "plan.h"
#include "registry.h"
#include "trace.h"
#include "watch.h"

using namespace opswap;

namespace {

constexpr opswap_exec kDefaultExec = {sizeof(opswap_exec), 0, nullptr, nullptr, 0, nullptr, 0, nullptr};

// nullptr, or why this implementation cannot run these arguments.
const char *refusal(const Impl &impl, const Bound &bound) {
  if (impl.external) return impl.external_fn ? nullptr : impl.absent_reason;
  if (bound.base().device_type != impl.device_type)
    return impl.device_type == kDLCPU ? "it computes on the CPU and the tensors are on another device"
                                      : "it computes on a CUDA device and the tensors are not there";
  if (impl.device_type == kDLCUDA)
    if (const char *reason = device_refusal(bound.base().device_id)) return reason;
  return impl.record->can ? impl.record->can(bound.args) : nullptr;
}

[[gnu::cold]] opswap_status refuse(const Op &op, const Impl &impl, const char *reason) {
  return fail(OPSWAP_E_UNUSABLE, "%s: implementation '%s' cannot run: %s", op.spec->name, impl.name, reason);
}

constexpr uintptr_t kWorkspaceAlignment = 64;

opswap_status check_workspace(const Op &op, const Impl &impl, const Bound &bound, const opswap_exec &exec) {
  const size_t needs = impl.record->workspace(bound.args, exec), got = exec.workspace ? exec.workspace_size : 0;
  if (needs > got)
    return fail(OPSWAP_E_WORKSPACE, "%s: implementation '%s' needs %zu bytes of workspace for these arguments, got %zu",
                op.spec->name, impl.name, needs, got);
  if (needs && reinterpret_cast<uintptr_t>(exec.workspace) % kWorkspaceAlignment)
    return fail(OPSWAP_E_WORKSPACE, "%s: the workspace starts at %p, needs a multiple of %zu", op.spec->name,
                exec.workspace, size_t(kWorkspaceAlignment));
  return OPSWAP_OK;
}

opswap_status start(const Op &op, Impl &impl, const Bound &bound, const opswap_exec &exec) {
  if (impl.external) return impl.external_fn(impl.external_ctx, bound.given, op.spec->nargs, &exec);
  if (impl.record->workspace)
    if (opswap_status e = check_workspace(op, impl, bound, exec)) [[unlikely]]
      return e;
  if (impl.device_type != kDLCUDA) return impl.record->run(bound.args, exec);
  const DeviceScope scope(bound.base().device_id);
  return scope.status() ? scope.status() : impl.record->run(bound.args, exec);
}

[[gnu::cold]] opswap_status start_planned(const Op &op, Impl &impl, const Bound &bound, opswap_exec exec) {
  if (opswap_status e = open_plan(op, impl, bound, exec)) return e;
  return start(op, impl, bound, exec);
}

// Work on a device goes on after the call has returned: events time it, and it is known too late for the trace.
opswap_status run_on_device(const Op &op, Impl &impl, const Bound &bound, const opswap_exec &exec, bool counted) {
  const uint64_t bucket = op.spec->bucket(bound.args);
  opswap_status status;
  if (counted) {
    DeviceTime time(bound, exec);
    status = run_implementation(op, impl, bound, exec);
    if (!status) time.counted(impl, bucket);
  } else {
    status = run_implementation(op, impl, bound, exec);
  }
  if (traced()) trace_store(op, impl, bucket, Arm::live, -1);
  return status;
}

opswap_status run_timed(const Op &op, Impl &impl, const Bound &bound, const opswap_exec &exec, bool counted) {
  if (bound.base().device_type != kDLCPU) return run_on_device(op, impl, bound, exec, counted);
  const uint64_t start = ticks_now();
  const opswap_status status = run_implementation(op, impl, bound, exec);
  const uint64_t now = ticks_now(), bucket = op.spec->bucket(bound.args);
  if (counted) impl.stats.buckets.add(bucket, now - start, now);
  if (traced()) trace_store(op, impl, bucket, Arm::live, int64_t(ticks_to_ns(now - start)));
  return status;
}

opswap_status resolve(const char *name, const opswap_exec *exec, Op *&op, Impl *&impl) {
  if (exec && exec->struct_size < sizeof(opswap_exec)) [[unlikely]]
    return fail(OPSWAP_E_ABI, "opswap_exec has %u bytes, this build needs %zu", exec->struct_size, sizeof(opswap_exec));
  op = find_op(name);
  if (!op) [[unlikely]]
    return OPSWAP_E_NO_OP;
  impl = exec && exec->impl ? find_impl(*op, exec->impl) : op->active.load(std::memory_order_acquire);
  if (!impl) [[unlikely]]
    return exec && exec->impl ? OPSWAP_E_NO_IMPL
                              : fail(OPSWAP_E_UNUSABLE, "%s: no implementation of it can run here", op->spec->name);
  return OPSWAP_OK;
}

// The implementation that a call runs: device tensors go to the choice of their device, unless one was asked for.
Impl *chosen_for(const Op &op, Impl &impl, const Bound &bound, const opswap_exec *exec) {
  if (bound.base().device_type == impl.device_type || impl.external) [[likely]]
    return &impl;
  if ((exec && exec->impl) || op.asked.load(std::memory_order_relaxed)) return &impl;
  Impl *choice = op.device_choice.load(std::memory_order_acquire);
  return choice && choice->device_type == bound.base().device_type ? choice : &impl;
}

opswap_status run_counted(Op &op, Impl &impl, const Bound &bound, const opswap_exec &exec, bool timed) {
  return timed || traced() ? run_timed(op, impl, bound, exec, timed) : run_implementation(op, impl, bound, exec);
}

// Apart from the call that nobody watches, which it would make longer.
[[gnu::cold, gnu::noinline]] opswap_status run_under_watch(Op &op, Impl &impl, const Bound &bound,
                                                           const opswap_exec &exec, bool timed) {
  auto run = [&] { return run_counted(op, impl, bound, exec, timed); };
  const LiveCall live{[](void *context) { return (*static_cast<decltype(run) *>(context))(); }, &run, &impl,
                      exec.stream};
  return run_watched(op, bound, live);
}

}  // namespace

namespace opswap {

opswap_status run_implementation(const Op &op, Impl &impl, const Bound &bound, const opswap_exec &exec) {
  if (const char *reason = refusal(impl, bound)) [[unlikely]]
    return refuse(op, impl, reason);
  return exec.plan ? start_planned(op, impl, bound, exec) : start(op, impl, bound, exec);
}

size_t workspace_of(const Impl &impl, const Bound &bound, const opswap_exec &exec) {
  return impl.external || !impl.record->workspace ? 0 : impl.record->workspace(bound.args, exec);
}

}  // namespace opswap

extern "C" {

opswap_status opswap_call(const char *name, const opswap_arg *args, int32_t nargs, const opswap_exec *exec) {
  Op *op = nullptr;
  Impl *impl = nullptr;
  if (opswap_status e = resolve(name, exec, op, impl)) [[unlikely]]
    return e;
  const opswap_exec &x = exec ? *exec : kDefaultExec;
  Bound bound;
  if (opswap_status e = bind(*op, args, nargs, bound)) [[unlikely]]
    return e;
  impl = chosen_for(*op, *impl, bound, exec);
  const bool timed = impl->stats.count();
  const bool watched = op->watched.load(std::memory_order_relaxed);
  const opswap_status status =
      watched ? run_under_watch(*op, *impl, bound, x, timed) : run_counted(*op, *impl, bound, x, timed);
  if (status) [[unlikely]]
    impl->stats.errors.fetch_add(1, std::memory_order_relaxed);
  return status;
}

opswap_status opswap_plan(const char *name, const opswap_arg *args, int32_t nargs, const opswap_exec *exec, void *buf,
                          size_t *size) {
  if (!size) return fail(OPSWAP_E_NULL, "opswap_plan: size is null");
  Op *op = nullptr;
  Impl *impl = nullptr;
  if (opswap_status e = resolve(name, exec, op, impl)) return e;
  const opswap_exec &x = exec ? *exec : kDefaultExec;
  Bound bound;
  if (opswap_status e = bind(*op, args, nargs, bound)) return e;
  impl = chosen_for(*op, *impl, bound, exec);
  const size_t room = *size;
  *size = plan_size(*impl, bound, x);
  if (!buf || !*size) return OPSWAP_OK;
  if (room < *size) return fail(OPSWAP_E_BUFFER, "opswap_plan: %s needs %zu bytes, got %zu", name, *size, room);
  if (const char *reason = refusal(*impl, bound)) return refuse(*op, *impl, reason);
  return make_plan(*op, *impl, bound, x, buf);
}

opswap_status opswap_workspace_size(const char *name, const opswap_arg *args, int32_t nargs, const opswap_exec *exec,
                                    size_t *size) {
  if (!size) return fail(OPSWAP_E_NULL, "opswap_workspace_size: size is null");
  Op *op = nullptr;
  Impl *impl = nullptr;
  if (opswap_status e = resolve(name, exec, op, impl)) return e;
  Bound bound;
  if (opswap_status e = bind(*op, args, nargs, bound)) return e;
  impl = chosen_for(*op, *impl, bound, exec);
  *size =
      impl->record && impl->record->workspace ? impl->record->workspace(bound.args, exec ? *exec : kDefaultExec) : 0;
  return OPSWAP_OK;
}

opswap_status opswap_use(const char *op_name, const char *impl_name) {
  Op *op = find_op(op_name);
  if (!op) return OPSWAP_E_NO_OP;
  Impl *impl = find_impl(*op, impl_name);
  if (!impl) return OPSWAP_E_NO_IMPL;
  if (impl->external && !impl->external_fn) return refuse(*op, *impl, impl->absent_reason);
  if (!impl->external && impl->device_type == kDLCUDA)
    if (const char *reason = device_refusal(0)) return refuse(*op, *impl, reason);
  op->active.store(impl, std::memory_order_release);
  op->asked.store(true, std::memory_order_release);
  return OPSWAP_OK;
}
}
