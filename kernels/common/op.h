// What a room's cpu.cpp starts with: registration macros. The file is compiled once for `ref` and once per instruction
// set for `cpu`; OPSWAP_ISA names the namespace of the pass, so no two passes share a symbol.
#pragma once

#include "check.h"
#include "pool.h"
#include "registry.h"

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
#define OPSWAP_COMPOSED(op) OPSWAP_REGISTER_(op, composed, 10)
#define OPSWAP_CHECK(op) OPSWAP_CHECK_(op)
#else
#define OPSWAP_REF(op) OPSWAP_UNUSED_(op, ref)
#define OPSWAP_CPU(op) OPSWAP_REGISTER_(op, cpu, 10)
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
