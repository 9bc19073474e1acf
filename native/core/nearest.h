// The hint "did you mean" for a name that is not known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace opswap {

// " (did you mean 'a' or 'b'?)" for names within a small edit distance, otherwise "".
std::string nearest(const char *name, const std::vector<std::string_view> &names);

}  // namespace opswap
