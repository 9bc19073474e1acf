// Status codes, made from errors.def, and fail(), with which every refusal of the library is made.
#pragma once

#include "opswap.h"

namespace opswap {

enum Status : opswap_status {
#define X(number, name, meaning, remedy) name = number,
#include "errors.def"
#undef X
};

// Stores the calling thread's last error and returns `status`.
[[gnu::cold, gnu::format(printf, 2, 3)]] opswap_status fail(Status status, const char *format, ...);

}  // namespace opswap
