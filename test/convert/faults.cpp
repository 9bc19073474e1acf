// Preloaded into a process under test: counts the calls that change files under OPSWAP_FAULT_UNDER, writes each into
// OPSWAP_FAULT_LOG, and at call number OPSWAP_FAULT_AT kills the process (a write is torn in half first) or fails with
// the error number OPSWAP_FAULT_ERRNO, from then on.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

template <class F>
F *next(const char *name) {
  return reinterpret_cast<F *>(dlsym(RTLD_NEXT, name));
}

const char *setting(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

std::atomic<long> calls{0};

bool below(const char *path) {
  static const char *const under = setting("OPSWAP_FAULT_UNDER");
  return *under && std::strncmp(path, under, std::strlen(under)) == 0;
}

bool file_below(int fd, char (&path)[4096]) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(link, path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  return below(path);
}

void log(const char *call, const char *path, long long offset, long long bytes) {
  static const int fd = next<int(const char *, int, ...)>("open")(setting("OPSWAP_FAULT_LOG"),
                                                                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  char line[4400];
  const int n = std::snprintf(line, sizeof line, "%s %lld %lld %s\n", call, offset, bytes, path);
  if (fd >= 0) (void)!next<ssize_t(int, const void *, size_t)>("write")(fd, line, size_t(n));
}

enum class Fate { pass, kill, fail };

Fate fate() {
  static const long at = std::atol(setting("OPSWAP_FAULT_AT")), error = std::atol(setting("OPSWAP_FAULT_ERRNO"));
  const long now = ++calls;
  if (at == 0 || now < at) return Fate::pass;
  if (error == 0) return now == at ? Fate::kill : Fate::pass;
  errno = int(error);
  return Fate::fail;
}

// Ends here, or with OPSWAP_FAULT_STOP stays as it is and holds what it holds.
void die() {
  ::kill(::getpid(), *setting("OPSWAP_FAULT_STOP") ? SIGSTOP : SIGKILL);
  for (;;) ::pause();
}

// Runs `real` unless the call's turn has come.
template <class R, class Real>
R guarded(const char *call, const char *path, Real real) {
  if (!below(path)) return real();
  switch (fate()) {
    case Fate::kill:
      die();
      [[fallthrough]];
    case Fate::fail:
      return R(-1);
    case Fate::pass:
      break;
  }
  log(call, path, 0, 0);
  return real();
}

template <class Write>
ssize_t guarded_write(int fd, size_t bytes, long long offset, Write write) {
  char path[4096];
  if (!file_below(fd, path)) return write(bytes);
  const Fate what = fate();
  if (what == Fate::fail) return -1;
  log("write", path, offset, (long long)(what == Fate::kill ? bytes / 2 : bytes));
  if (what == Fate::pass) return write(bytes);
  (void)!write(bytes / 2);
  die();
  return -1;
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void *data, size_t bytes) {
  static const auto real = next<ssize_t(int, const void *, size_t)>("write");
  return guarded_write(fd, bytes, -1, [=](size_t n) { return real(fd, data, n); });
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
  static const auto real = next<ssize_t(int, const void *, size_t, off_t)>("pwrite");
  return guarded_write(fd, bytes, offset, [=](size_t n) { return real(fd, data, n, offset); });
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) { return pwrite(fd, data, bytes, offset); }
int fsync(int fd) {
  char path[4096];
  file_below(fd, path);
  return guarded<int>("fsync", path, [=] { return next<int(int)>("fsync")(fd); });
}
int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  char path[4096];
  file_below(fd, path);
  return guarded<int>("fallocate", path,
                      [=] { return next<int(int, int, off_t, off_t)>("fallocate")(fd, mode, offset, bytes); });
}
int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) { return fallocate(fd, mode, offset, bytes); }
int rename(const char *from, const char *to) {
  return guarded<int>("rename", from, [=] { return next<int(const char *, const char *)>("rename")(from, to); });
}
int unlink(const char *path) {
  return guarded<int>("unlink", path, [=] { return next<int(const char *)>("unlink")(path); });
}
int rmdir(const char *path) {
  return guarded<int>("rmdir", path, [=] { return next<int(const char *)>("rmdir")(path); });
}
int mkdir(const char *path, mode_t mode) {
  return guarded<int>("mkdir", path, [=] { return next<int(const char *, mode_t)>("mkdir")(path, mode); });
}
int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  static const auto real = next<int(const char *, int, ...)>("open");
  if (!(flags & O_CREAT)) return real(path, flags, mode);
  return guarded<int>("create", path, [=] { return real(path, flags, mode); });
}
int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open(path, flags, mode);
}
}
