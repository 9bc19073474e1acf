// opswap_record_start and its relatives: checks what they are given, and finds the op's recording.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "error.h"
#include "json.h"
#include "recording.h"
#include "watch.h"

using namespace opswap;

namespace {

// Activations are the users' data: no other user may read the folder, nor put anything into it.
// Looked at once it is open: what is put under its name later has no part in the recording.
opswap_status open_folder(const char *path, std::shared_ptr<const Folder> &folder) {
  if (!path) return fail(OPSWAP_E_ARGUMENT, "opswap_record_start: folder is null; make one of your own (mode 0700)");
  folder = std::make_shared<const Folder>(path);
  if (folder->fd() < 0)
    return fail(OPSWAP_E_ARGUMENT, "opswap_record_start: folder '%s': %s; make one of your own (mode 0700), no link",
                path, std::strerror(errno));
  struct stat is{};
  if (::fstat(folder->fd(), &is) || is.st_uid != ::geteuid() || (is.st_mode & 077))
    return fail(OPSWAP_E_ARGUMENT,
                "opswap_record_start: '%s' is of user %u with mode %04o, needs a folder of your own with mode 0700",
                path, unsigned(is.st_uid), unsigned(is.st_mode & 07777));
  return OPSWAP_OK;
}

opswap_status check_config(const opswap_recording *config) {
  if (!config || config->struct_size < sizeof *config)
    return fail(OPSWAP_E_ABI, "opswap_recording has %u bytes, this build needs %zu", config ? config->struct_size : 0,
                sizeof *config);
  if (!(config->share_of_calls >= 0 && config->share_of_calls <= 1))
    return fail(OPSWAP_E_ARGUMENT, "opswap_record_start: share_of_calls is %g, needs 0 to 1", config->share_of_calls);
  return OPSWAP_OK;
}

std::shared_ptr<Recording> last_recording(const char *name, opswap_status &status) {
  Op *op = find_op(name);
  status = OPSWAP_E_NO_OP;
  if (!op) return nullptr;
  std::lock_guard lock(op->watch_mutex);
  status = op->recording ? opswap_status(OPSWAP_OK)
                         : fail(OPSWAP_E_ARGUMENT, "%s: no recording was started (opswap_record_start)", name);
  return op->recording;
}

}  // namespace

extern "C" {

opswap_status opswap_record_start(const char *name, const opswap_recording *config) {
  Op *op = find_op(name);
  if (!op) return OPSWAP_E_NO_OP;
  if (opswap_status e = check_config(config)) return e;
  std::lock_guard lock(op->watch_mutex);
  if (op->recording && op->recording->running())
    return fail(OPSWAP_E_EXISTS, "%s: a recording is running already; stop it first (opswap_record_stop)", name);
  try {
    std::shared_ptr<const Folder> folder;
    if (opswap_status e = open_folder(config->folder, folder)) return e;
    op->recording = std::make_shared<Recording>(*op, *config, std::move(folder));
  } catch (const std::bad_alloc &) {
    return fail(OPSWAP_E_MEMORY, "opswap_record_start: %s: no memory is left for it", name);
  }
  set_watched(*op);
  return OPSWAP_OK;
}

opswap_status opswap_record_stop(const char *name) {
  opswap_status status;
  const std::shared_ptr<Recording> recording = last_recording(name, status);
  if (!recording) return status;
  recording->stop();
  Op *op = find_op(name);
  std::lock_guard lock(op->watch_mutex);
  set_watched(*op);
  return OPSWAP_OK;
}

opswap_status opswap_record_status(const char *name, char *buf, size_t *size) {
  opswap_status status;
  const std::shared_ptr<Recording> recording = last_recording(name, status);
  return recording ? copy_out("opswap_record_status", recording->status(), buf, size) : status;
}
}
