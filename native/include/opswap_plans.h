/* Plans that can be chosen: an addition to the C ABI of opswap.h, whose conventions hold. */
#ifndef OPSWAP_PLANS_H
#define OPSWAP_PLANS_H

#include "opswap.h"

#ifdef __cplusplus
extern "C" {
#endif

/* JSON: the ways in which an implementation (exec->impl, or the first that has several) can plan this call, each with
 * the cycles of the slowest SM by its model of `device` ("H20", "H100", "H200"; NULL: the device that is there), of
 * fewest cycles first, and the one that the call takes. Needs no device; data is not looked at. buf and size as for
 * opswap_why. */
OPSWAP_API opswap_status opswap_plan_ways(const char *op, const opswap_arg *args, int32_t nargs,
                                          const opswap_exec *exec, const char *device, char *buf, size_t *size);

/* As opswap_plan, of one of these ways. */
OPSWAP_API opswap_status opswap_plan_as(const char *op, const opswap_arg *args, int32_t nargs, const opswap_exec *exec,
                                        const char *way, void *buf, size_t *size);

/* JSON: the plan files of this user, which say what way calls take on a device (docs/tune.md); read once, when first
 * asked for. `digest` is that of all that count, and empty where none does. */
OPSWAP_API opswap_status opswap_tuned(char *buf, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
