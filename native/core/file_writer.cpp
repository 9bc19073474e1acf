// One thread per process writes files in the order in which they came.
#include "file_writer.h"

#include <fcntl.h>
#include <semaphore.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <deque>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace opswap {
namespace {

int write_all(int fd, const std::string &bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno != EINTR) return errno;
    if (n > 0) at += size_t(n);
  }
  return 0;
}

// Under another name first: a reader that looks for whole files sees none that is not.
int write_file(const FileToWrite &file) {
  const std::string draft = file.name + ".part";
  const int folder = file.folder->fd();
  const int fd = ::openat(folder, draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return errno;
  int error = write_all(fd, file.bytes);
  if (::close(fd) && !error) error = errno;
  if (!error && ::renameat(folder, draft.c_str(), folder, file.name.c_str())) error = errno;
  if (error) ::unlinkat(folder, draft.c_str(), 0);
  return error;
}

class Writer {
 public:
  Writer() { ::sem_init(&files_, 0, 0); }

  // A process that was forked has no thread of its parent's, so it starts one.
  void add(FileToWrite file) {
    std::lock_guard lock(mutex_);
    if (started_by_ != ::getpid() && !start()) return file.done(EAGAIN);
    waiting_.push_back(std::move(file));
    ::sem_post(&files_);
  }

 private:
  bool start() {
    try {
      std::thread([this] { run(); }).detach();
    } catch (const std::system_error &) {
      return false;
    }
    started_by_ = ::getpid();
    return true;
  }

  [[noreturn]] void run() {
    for (;;) {
      if (::sem_wait(&files_)) continue;  // interrupted by a signal
      std::unique_lock lock(mutex_);
      const FileToWrite file = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      file.done(write(file));
    }
  }

  static int write(const FileToWrite &file) {
    try {
      return write_file(file);
    } catch (const std::bad_alloc &) {
      return ENOMEM;
    }
  }

  std::mutex mutex_;
  sem_t files_;  // counts waiting_; a condition variable would ask for a newer libstdc++ than the packages may need
  std::deque<FileToWrite> waiting_;
  pid_t started_by_ = 0;
};

}  // namespace

Folder::Folder(const char *path) : fd_(::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {}
Folder::~Folder() {
  if (fd_ >= 0) ::close(fd_);
}

void write_file_soon(FileToWrite file) {
  static Writer *const writer = new Writer;  // never destroyed: its thread may outlive static destructors
  writer->add(std::move(file));
}

}  // namespace opswap
