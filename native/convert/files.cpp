// Reads and writes whole runs of bytes at an offset; what the system cuts short is continued, a failure is described.
#include "convert/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace opswap::convert {

bool read_all(int file, void *to, int64_t bytes, int64_t offset, bool on_target, Failure &failure) {
  for (char *p = static_cast<char *>(to); bytes > 0;) {
    const ssize_t n = ::pread(file, p, size_t(bytes), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      failure = {"read", on_target, n < 0 ? errno : 0, offset, {}};
      return false;
    }
    p += n;
    bytes -= n;
    offset += n;
  }
  return true;
}

bool write_all(int file, const void *from, int64_t bytes, int64_t offset, Failure &failure) {
  const int64_t begin = offset;
  for (const char *p = static_cast<const char *>(from); bytes > 0;) {
    const ssize_t n = ::pwrite(file, p, size_t(bytes), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      failure = {"write", true, n < 0 ? errno : ENOSPC, offset, {}};
      return false;
    }
    p += n;
    bytes -= n;
    offset += n;
  }
#ifdef SYNC_FILE_RANGE_WRITE
  (void)::sync_file_range(file, begin, offset - begin, SYNC_FILE_RANGE_WRITE);  // advice: a file system may not have it
#endif
  return true;
}

}  // namespace opswap::convert
