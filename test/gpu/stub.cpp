// Stands in front of the emulated library. It does to a call what OPSWAP_STUB says, wrong, hang or crash, and gives as
// the device's status what OPSWAP_STUB_STATUS says.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "opswap.h"

extern "C" opswap_status opswap_call(const char *op, const opswap_arg *args, int32_t nargs, const opswap_exec *exec) {
  using Call = opswap_status (*)(const char *, const opswap_arg *, int32_t, const opswap_exec *);
  static const Call real = reinterpret_cast<Call>(dlsym(RTLD_NEXT, "opswap_call"));
  const char *said = std::getenv("OPSWAP_STUB");
  const char *what = said ? said : "";
  if (!std::strcmp(what, "hang")) pause();
  if (!std::strcmp(what, "crash")) std::abort();
  const opswap_status status = real(op, args, nargs, exec);
  const DLTensor *out = args[0].v.tensor;
  if (!std::strcmp(what, "wrong") && out->shape[0] > 0)
    std::memset(out->data, 0x40, out->dtype.bits / 8);  // the first element is some other number
  return status;
}

extern "C" opswap_status opswap_get_version(opswap_version *out) {
  using Version = opswap_status (*)(opswap_version *);
  static const Version real = reinterpret_cast<Version>(dlsym(RTLD_NEXT, "opswap_get_version"));
  const opswap_status status = real(out);
  const char *said = std::getenv("OPSWAP_STUB_STATUS");
  if (!status && said && out->struct_size >= sizeof(opswap_version)) out->device_status = said;
  return status;
}
