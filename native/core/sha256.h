// SHA-256 (FIPS 180-4) of bytes in memory, as 64 hexadecimal digits.
#pragma once

#include <string>
#include <string_view>

namespace opswap {

std::string sha256_hex(std::string_view bytes);

}  // namespace opswap
