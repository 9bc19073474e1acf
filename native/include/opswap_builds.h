/* Second builds of the library in one process: an addition to the C ABI of opswap.h, whose conventions hold. */
#ifndef OPSWAP_BUILDS_H
#define OPSWAP_BUILDS_H

#include "opswap.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Loads the library of the file `path` into this process until its end, and registers each plain-named implementation
 * of an op that both have as IMPL@name. Refused are another ABI, another version of an op, another build digest than
 * `build_digest`, and a digest that is loaded already. */
OPSWAP_API opswap_status opswap_load_build(const char *path, const char *name, const char *build_digest);

/* JSON of a library in a file: abi_major, pack_version, build_digest, and the versions of its ops. buf and size as for
 * opswap_why. */
OPSWAP_API opswap_status opswap_read_build(const char *path, char *buf, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
