// A thread of its own that asks again and again whether something has come, so that no caller has to wait for it.
#pragma once

#include <functional>

namespace opswap {

// Calls `look` on that thread until it says true. False: there is no thread. std::bad_alloc, where memory is out.
bool poll_soon(std::function<bool()> look);

}  // namespace opswap
