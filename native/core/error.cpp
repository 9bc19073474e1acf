#include "error.h"

#include <cstdarg>
#include <cstdio>

namespace opswap {
namespace {

constexpr int kMaxMessage = 4096;  // a report of the emulator has a line for each reason to wait
thread_local char last_error[kMaxMessage] = "";

}  // namespace

opswap_status fail(Status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  std::vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
  return status;
}

}  // namespace opswap

extern "C" {

const char *opswap_last_error(void) { return opswap::last_error; }

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
