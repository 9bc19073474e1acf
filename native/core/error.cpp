// The last error of each thread: how its text is kept, also when it is long or memory is short.
#include "error.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

namespace opswap {
namespace {

constexpr size_t kUsual = 4096;
constexpr char kCut[] = " [cut here: no memory for the rest]";

// A thread's message; a long one, as a report of the emulator with a line for each thread, has memory of its own.
struct LastError {
  char usual[kUsual] = "";
  std::unique_ptr<char[]> longer;
  const char *text = usual;
};
thread_local LastError last_error;

}  // namespace

// Formatted beside the message before, which may be one of the arguments.
opswap_status fail(Status status, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  char text[kUsual] = "";
  const size_t size = size_t(std::max(std::vsnprintf(text, sizeof text, format, args), 0)) + 1;
  std::unique_ptr<char[]> whole(size > sizeof text ? new (std::nothrow) char[size] : nullptr);
  if (whole) {
    std::vsnprintf(whole.get(), size, format, again);
    last_error.longer = std::move(whole);
    last_error.text = last_error.longer.get();
  } else {
    if (size > sizeof text) std::memcpy(text + sizeof text - sizeof kCut, kCut, sizeof kCut);
    std::memcpy(last_error.usual, text, std::min(size, sizeof text));
    last_error.text = last_error.usual;
  }
  va_end(again);
  va_end(args);
  return status;
}

}  // namespace opswap

extern "C" {

const char *opswap_last_error(void) { return opswap::last_error.text; }

opswap_status opswap_set_error(opswap_status status, const char *message) {
  return opswap::fail(static_cast<opswap::Status>(status), "%s", message ? message : "");
}

const char *opswap_status_name(opswap_status status) {
  switch (status) {
#define X(number, name, meaning, remedy) \
  case number:                           \
    return #name;
#include "errors.def"
#undef X
    default:
      return "OPSWAP_E_UNKNOWN";
  }
}
}
