// One thread per process looks at everything that is waited for; it sleeps where there is nothing.
#include "poller.h"

#include <semaphore.h>
#include <unistd.h>

#include <ctime>
#include <exception>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace opswap {
namespace {

constexpr long kPauseNs = 500'000;  // between two looks, while something is on its way

class Poller {
 public:
  Poller() { ::sem_init(&came_, 0, 0); }

  // A process that was forked has no thread of its parent's, and what that one waited for never comes here.
  bool add(std::function<bool()> look) {
    std::lock_guard lock(mutex_);
    if (started_by_ != ::getpid() && !start()) return false;
    new_.push_back(std::move(look));
    ::sem_post(&came_);
    return true;
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
    std::list<std::function<bool()>> all;
    for (;;) {
      if (all.empty())
        ::sem_wait(&came_);
      else
        pause();
      {
        std::lock_guard lock(mutex_);
        all.splice(all.end(), new_);
      }
      all.remove_if(is_over);
    }
  }

  // Woken early by what is new.
  void pause() {
    timespec until{};
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += kPauseNs;
    if (until.tv_nsec >= 1'000'000'000) until.tv_sec += 1, until.tv_nsec -= 1'000'000'000;
    ::sem_timedwait(&came_, &until);
  }

  // One that throws, for want of memory, is not asked again.
  static bool is_over(const std::function<bool()> &look) {
    try {
      return look();
    } catch (const std::exception &) {
      return true;
    }
  }

  std::mutex mutex_;
  sem_t came_;  // a condition variable would ask for a newer libstdc++ than the packages may need
  std::list<std::function<bool()>> new_;
  pid_t started_by_ = 0;
};

}  // namespace

bool poll_soon(std::function<bool()> look) {
  static Poller *const poller = new Poller;  // never destroyed: its thread may outlive static destructors
  return poller->add(std::move(look));
}

}  // namespace opswap
