// Text that the library gives out: JSON strings, and copies into a caller's buffer.
#pragma once

#include <cstddef>
#include <string>

#include "opswap.h"

namespace opswap {

// With quotes and escapes; null is the empty string.
std::string quoted(const char *text);

// Writes `text` with its NUL, or OPSWAP_E_BUFFER; *size becomes what it needs.
opswap_status copy_out(const char *call, const std::string &text, char *buf, size_t *size);

}  // namespace opswap
