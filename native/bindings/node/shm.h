// POSIX shared memory for JavaScript: segments that appear as ArrayBuffers without a copy.
#pragma once

#include <napi.h>

namespace opswap_node {

// Adds shmCreate(name, bytes), shmOpen(name, bytes) and shmUnlink(name) to the addon.
void register_shm(Napi::Env env, Napi::Object exports);

}  // namespace opswap_node
