// One thread per process writes files in the order in which they came.
#include "file_writer.h"

#include <fcntl.h>
#include <semaphore.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <deque>
#include <mutex>
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
  const std::string draft = file.path + ".part";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return errno;
  int error = write_all(fd, file.bytes);
  if (::close(fd) && !error) error = errno;
  if (!error && std::rename(draft.c_str(), file.path.c_str())) error = errno;
  if (error) ::unlink(draft.c_str());
  return error;
}

class Writer {
 public:
  Writer() { ::sem_init(&files_, 0, 0); }

  void add(FileToWrite file) {
    std::lock_guard lock(mutex_);
    if (!std::exchange(started_, true)) std::thread([this] { run(); }).detach();
    waiting_.push_back(std::move(file));
    ::sem_post(&files_);
  }

 private:
  [[noreturn]] void run() {
    for (;;) {
      if (::sem_wait(&files_)) continue;  // interrupted by a signal
      std::unique_lock lock(mutex_);
      const FileToWrite file = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      file.done(write_file(file));
    }
  }

  std::mutex mutex_;
  sem_t files_;  // counts waiting_; a condition variable would ask for a newer libstdc++ than the packages may need
  std::deque<FileToWrite> waiting_;
  bool started_ = false;
};

}  // namespace

void write_file_soon(FileToWrite file) {
  static Writer *const writer = new Writer;  // never destroyed: its thread may outlive static destructors
  writer->add(std::move(file));
}

}  // namespace opswap
