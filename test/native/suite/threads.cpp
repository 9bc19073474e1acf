// The pool: concurrent callers, changes of its size, and a forked child.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "harness.h"

TEST(pool) {
  const int32_t most = opswap_get_threads();
  CHECK(most >= 1);
  CHECK_EQ(name(opswap_set_threads(most + 1)), "OPSWAP_E_ARGUMENT");
  CHECK_EQ(name(opswap_set_threads(-1)), "OPSWAP_E_ARGUMENT");
  std::atomic<bool> done{false};
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      NormCall call(64, 1024);  // large enough to be split
      while (!done) CHECK(call.run() == 0 && call.right());
    });
  for (int i = 0; i < 200; ++i) {
    CHECK_EQ(opswap_set_threads(1 + i % most), 0);
    std::this_thread::yield();
  }
  done = true;
  for (auto &t : callers) t.join();
  CHECK_EQ(opswap_set_threads(0), 0);
  CHECK_EQ(opswap_get_threads(), most);
}

TEST(fork) {
  NormCall call(64, 1024);
  CHECK(call.run() == 0 && call.right());  // the parent's pool exists
  const pid_t child = fork();
  CHECK(child >= 0);
  if (!child) {
    call.out.data.assign(call.out.data.size(), 0);
    _exit(call.run() == 0 && call.right() ? 0 : 1);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}
