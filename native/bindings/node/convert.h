// The converter for JavaScript: one tensor at a time, off the event loop.
#pragma once

#include <napi.h>

namespace opswap_node {

// Adds convertTensor(job), lockFile(fd) and reserve(fd, bytes) to the addon.
void register_convert(Napi::Env env, Napi::Object exports);

}  // namespace opswap_node
