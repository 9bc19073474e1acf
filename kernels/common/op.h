// What a room's cpu.cpp starts with: registration macros. The file is compiled once for `ref` and once per instruction
// set for `cpu`; OPSWAP_ISA names the namespace of the pass, so no two passes share a symbol.
#pragma once

#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "check.h"
#include "pool.h"
#include "registration.h"

namespace opswap {

#define OPSWAP_REGISTER_(op, impl, priority)                                                          \
  static opswap_status op##_##impl(const op##_args &a, const opswap_exec &exec);                      \
  static ImplRecord op##_##impl##_record{                                                             \
      #op, #impl, OPSWAP_ISA_LEVEL, priority, kDLCPU, [](const void *args, const opswap_exec &exec) { \
        return op##_##impl(*static_cast<const op##_args *>(args), exec);                              \
      }};                                                                                             \
  static const RegisterImpl op##_##impl##_registered{op##_##impl##_record};                           \
  static opswap_status op##_##impl([[maybe_unused]] const op##_args &a, [[maybe_unused]] const opswap_exec &exec)

#define OPSWAP_UNUSED_(op, impl)                                                         \
  [[maybe_unused]] static opswap_status op##_##impl([[maybe_unused]] const op##_args &a, \
                                                    [[maybe_unused]] const opswap_exec &exec)

// What the `cpu` implementation works out once per shape, in a struct of its own that starts with its version:
//   OPSWAP_CPU_PLAN(op, Plan) { plan = ...; return OPSWAP_OK; }
// Behind OPSWAP_CPU(op), where `planned(exec, plan)` reads the plan of the call, if there is one. It may come from
// another process: check it before it is used.
template <class Args, class Plan, opswap_status (*make)(const Args &, Plan &)>
bool with_plan(ImplRecord &record) {
  record.plan_size = [](const void *, const opswap_exec &) { return sizeof(Plan); };
  record.plan = [](const void *args, const opswap_exec &, void *out) {
    Plan plan;
    const opswap_status status = make(*static_cast<const Args *>(args), plan);
    std::memcpy(out, &plan, sizeof plan);
    return status;
  };
  return true;
}

template <class Plan>
bool planned(const opswap_exec &exec, Plan &plan) {
  if (!exec.plan) return false;
  std::memcpy(&plan, exec.plan, sizeof plan);
  return true;
}

#define OPSWAP_CPU_PLAN_(op, Plan)                                                                                   \
  static opswap_status op##_cpu_plan(const op##_args &a, Plan &plan);                                                \
  [[maybe_unused]] static const bool op##_cpu_has_plan = with_plan<op##_args, Plan, op##_cpu_plan>(op##_cpu_record); \
  static opswap_status op##_cpu_plan(const op##_args &a, Plan &plan)

// Values that op.json cannot state, e.g. page ids in use; `return fail(OPSWAP_E_VALUE, ...)`.
#define OPSWAP_CHECK_(op)                                                                       \
  static opswap_status op##_check(const op##_args &a);                                          \
  static CheckRecord op##_check_record{                                                         \
      #op, [](const void *args) { return op##_check(*static_cast<const op##_args *>(args)); }}; \
  static const RegisterCheck op##_check_registered{op##_check_record};                          \
  static opswap_status op##_check(const op##_args &a)

#if defined(OPSWAP_PASS_REF)
#define OPSWAP_REF(op) OPSWAP_REGISTER_(op, ref, 0)
#define OPSWAP_CPU(op) OPSWAP_UNUSED_(op, cpu)
#define OPSWAP_CPU_PLAN(op, Plan) [[maybe_unused]] static opswap_status op##_cpu_plan(const op##_args &a, Plan &plan)
#define OPSWAP_COMPOSED(op) OPSWAP_REGISTER_(op, composed, 10)
#define OPSWAP_CHECK(op) OPSWAP_CHECK_(op)
#else
#define OPSWAP_REF(op) OPSWAP_UNUSED_(op, ref)
#define OPSWAP_CPU(op) OPSWAP_REGISTER_(op, cpu, 10)
#define OPSWAP_CPU_PLAN(op, Plan) OPSWAP_CPU_PLAN_(op, Plan)
#define OPSWAP_COMPOSED(op) OPSWAP_UNUSED_(op, composed)
#define OPSWAP_CHECK(op) [[maybe_unused]] static opswap_status op##_check(const op##_args &a)
#endif

namespace OPSWAP_ISA {

// for (i = 0..n) in chunks over the pool: body(begin, end).
template <class Body>
inline void parallel_for(int64_t n, int64_t grain, Body &&body) {
  parallel_run(
      n, grain,
      [](void *ctx, int64_t begin, int64_t end) { (*static_cast<std::remove_reference_t<Body> *>(ctx))(begin, end); },
      &body);
}

// The same for a body that returns false when it got no scratch memory.
template <class Body>
inline opswap_status parallel_try(int64_t n, int64_t grain, Body &&body) {
  bool short_of_memory = false;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    if (!body(begin, end)) __atomic_store_n(&short_of_memory, true, __ATOMIC_RELAXED);
  });
  return short_of_memory ? fail(OPSWAP_E_MEMORY, "no memory for a thread's work area") : opswap_status{OPSWAP_OK};
}

}  // namespace OPSWAP_ISA
}  // namespace opswap
