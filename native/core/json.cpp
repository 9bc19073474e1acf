// JSON strings, and text copied into a caller's buffer.
#include "json.h"

#include <cstdio>
#include <cstring>

#include "error.h"

namespace opswap {

std::string quoted(const char *text) {
  std::string out = "\"";
  for (const char *p = text ? text : ""; *p; ++p) {
    if (*p == '"' || *p == '\\') out += '\\';
    if (static_cast<unsigned char>(*p) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", *p);
      out += escape;
    } else {
      out += *p;
    }
  }
  return out + "\"";
}

opswap_status copy_out(const char *call, const std::string &text, char *buf, size_t *size) {
  if (!size) return fail(OPSWAP_E_NULL, "%s: size is null", call);
  const size_t room = *size;
  *size = text.size() + 1;
  if (!buf || room < *size) return fail(OPSWAP_E_BUFFER, "%s: needs %zu bytes, got %zu", call, *size, buf ? room : 0);
  std::memcpy(buf, text.c_str(), text.size() + 1);
  return OPSWAP_OK;
}

}  // namespace opswap
