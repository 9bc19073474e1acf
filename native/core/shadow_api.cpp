// opswap_shadow_start and its relatives: checks what they are given, and finds the op's shadow.
#include <new>

#include "error.h"
#include "json.h"
#include "shadow.h"
#include "watch.h"

using namespace opswap;

namespace {

opswap_status check_config(const Op &op, const opswap_shadow *config) {
  const auto wrong = [&](const char *what, double is, const char *needs) {
    return fail(OPSWAP_E_ARGUMENT, "opswap_shadow_start: %s: %s is %g, needs %s", op.spec->name, what, is, needs);
  };
  if (!config || config->struct_size < sizeof *config)
    return fail(OPSWAP_E_ABI, "opswap_shadow has %u bytes, this build needs %zu", config ? config->struct_size : 0,
                sizeof *config);
  if (!(config->share_of_calls >= 0 && config->share_of_calls <= 1))
    return wrong("share_of_calls", config->share_of_calls, "0 to 1");
  if (!(config->share_of_time > 0 && config->share_of_time <= 1))
    return wrong("share_of_time", config->share_of_time, "more than 0 and at most 1");
  return OPSWAP_OK;
}

opswap_status find_arm(Op &op, const char *name, Impl *&arm) {
  arm = find_impl(op, name);
  if (!arm) return OPSWAP_E_NO_IMPL;
  if (arm->external && !arm->external_fn)
    return fail(OPSWAP_E_UNUSABLE, "%s: implementation '%s' cannot run: %s", op.spec->name, name, arm->absent_reason);
  return OPSWAP_OK;
}

// The op's last shadow; the error is set where there is none.
std::shared_ptr<Shadow> last_shadow(const char *name, opswap_status &status) {
  Op *op = find_op(name);
  status = OPSWAP_E_NO_OP;
  if (!op) return nullptr;
  std::lock_guard lock(op->watch_mutex);
  status = op->shadow ? opswap_status(OPSWAP_OK)
                      : fail(OPSWAP_E_ARGUMENT, "%s: no shadow was started (opswap_shadow_start)", name);
  return op->shadow;
}

}  // namespace

extern "C" {

opswap_status opswap_shadow_start(const char *name, const opswap_shadow *config) {
  Op *op = find_op(name);
  if (!op) return OPSWAP_E_NO_OP;
  if (opswap_status e = check_config(*op, config)) return e;
  Impl *control = nullptr, *candidate = nullptr;
  if (opswap_status e = find_arm(*op, config->control, control)) return e;
  if (opswap_status e = find_arm(*op, config->candidate, candidate)) return e;
  std::lock_guard lock(op->watch_mutex);
  if (op->shadow && op->shadow->running())
    return fail(OPSWAP_E_EXISTS, "%s: a shadow is running already; stop it first (opswap_shadow_stop)", name);
  try {
    op->shadow = std::make_shared<Shadow>(*op, control, candidate, *config);
  } catch (const std::bad_alloc &) {
    return fail(OPSWAP_E_MEMORY, "opswap_shadow_start: %s: no memory is left for it", name);
  }
  set_watched(*op);
  return OPSWAP_OK;
}

opswap_status opswap_shadow_stop(const char *name) {
  opswap_status status;
  const std::shared_ptr<Shadow> shadow = last_shadow(name, status);
  if (!shadow) return status;
  shadow->stop();
  Op *op = find_op(name);
  std::lock_guard lock(op->watch_mutex);
  set_watched(*op);
  return OPSWAP_OK;
}

opswap_status opswap_shadow_read(const char *name, uint64_t after, opswap_shadow_record *out, uint64_t *count) {
  if (!out || !count) return fail(OPSWAP_E_NULL, "opswap_shadow_read: out or count is null");
  opswap_status status;
  const std::shared_ptr<Shadow> shadow = last_shadow(name, status);
  if (!shadow) return status;
  if (*count && out->struct_size < sizeof *out)
    return fail(OPSWAP_E_ABI, "opswap_shadow_read: struct_size of the first record is %u, this build needs %zu",
                out->struct_size, sizeof *out);
  *count = *count ? shadow->read(after, reinterpret_cast<char *>(out), out->struct_size, *count) : 0;
  return OPSWAP_OK;
}

opswap_status opswap_shadow_status(const char *name, char *buf, size_t *size) {
  opswap_status status;
  const std::shared_ptr<Shadow> shadow = last_shadow(name, status);
  return shadow ? copy_out("opswap_shadow_status", shadow->status(), buf, size) : status;
}
}
