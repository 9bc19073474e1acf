// The library's thread pool: threads take chunks of a region until none is left; or the host runs the region on its own
// team.
#include "pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "error.h"
#include "second_build.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace opswap {
namespace {

// CPUs that this process may run on.
int32_t affinity_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  return std::max(1, CPU_COUNT(&set));
}

std::atomic<int32_t> wanted_threads{0};  // 0: as many as the affinity mask allows
std::atomic<opswap_host_parallel> host_run{nullptr};
thread_local bool inside = false;  // this thread is in a parallel region

// One region: threads take chunks from `next` until none is left.
struct Region {
  RangeFn fn;
  void *ctx;
  int64_t n, chunk;
  int32_t helpers;  // threads that may join the caller
  std::atomic<int64_t> next{0};

  void work() {
    inside = true;
    for (int64_t begin; (begin = next.fetch_add(chunk, std::memory_order_relaxed)) < n;)
      fn(ctx, begin, std::min(n, begin + chunk));
    inside = false;
  }
};

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Workers wait briefly in user space (a decode step issues its next region within microseconds), then sleep in the
// kernel. The caller never waits for a worker that has not begun: it does the work of one whose core is taken.
class Pool {
 public:
  explicit Pool(int32_t threads) {
    for (int32_t i = 1; i < threads; ++i) workers_.emplace_back([this] { loop(); });
  }
  ~Pool() {
    stop_ = true;
    gate_.fetch_add(kRound);
    gate_.notify_all();
    for (auto &w : workers_) w.join();
  }
  int32_t size() const { return int32_t(workers_.size()) + 1; }

  void run(Region &region) {
    region_ = &region;
    gate_.fetch_add(kRound | kOpen, std::memory_order_seq_cst);
    gate_.notify_all();
    region.work();
    gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spin = 0; gate_.load(std::memory_order_acquire) & kInside;)
      if (++spin < kSpins)
        pause();
      else
        std::this_thread::yield();
  }

 private:
  static constexpr int kSpins = 4000;
  // The gate: how many workers are in the region, whether it is open to more, and the number of the region.
  static constexpr uint32_t kInside = 0xfff, kOpen = 0x1000, kRound = 0x2000;

  void loop() {
    uint32_t seen = 0;  // the round this worker is done with
    while (!stop_) {
      uint32_t now = gate_.load(std::memory_order_acquire);
      for (int spin = 0; spin < kSpins && now / kRound == seen; ++spin) {
        pause();
        now = gate_.load(std::memory_order_acquire);
      }
      if (now / kRound == seen) {
        gate_.wait(now, std::memory_order_acquire);
        continue;
      }
      if (enter(now)) {
        region_->work();
        gate_.fetch_sub(1, std::memory_order_release);
      }
      seen = now / kRound;
    }
  }

  // Joins the round that `now` shows, unless it has been closed or has helpers enough; `now` is what was decided on.
  bool enter(uint32_t &now) {
    for (;;) {
      if (!(now & kOpen)) return false;
      if (gate_.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) break;
    }
    if (int32_t(now & kInside) < region_->helpers) return true;
    gate_.fetch_sub(1, std::memory_order_release);
    return false;
  }

  std::vector<std::thread> workers_;
  Region *region_ = nullptr;
  std::atomic<uint32_t> gate_{0};
  std::atomic<bool> stop_{false};
};

std::mutex pool_mutex;  // held while a region runs, so a second caller runs inline instead of waiting
Pool *pool = nullptr;

// A forked child has none of the parent's threads: it starts its own pool.
void after_fork_in_child() {
  pool = nullptr;
  new (&pool_mutex) std::mutex;
}

void run_on_pool(Region &region) {
  std::unique_lock lock(pool_mutex, std::try_to_lock);
  if (!lock) return region.work();
  const int32_t threads = thread_count();
  if (!pool || pool->size() != threads) {
    static const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
    (void)registered;
    delete pool;
    pool = new Pool(threads);
  }
  pool->run(region);
}

}  // namespace

int32_t thread_count() {
  const int32_t wanted = wanted_threads.load(std::memory_order_relaxed);
  if (wanted) return wanted;
  static const int32_t available = affinity_count();
  return available;
}

opswap_host_parallel host_parallel() { return host_run.load(std::memory_order_acquire); }

void parallel_run(int64_t n, int64_t grain, RangeFn fn, void *ctx) {
  if (n <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const int32_t threads = int32_t(std::min<int64_t>(thread_count(), (n + grain - 1) / grain));
  if (threads <= 1 || inside) return fn(ctx, 0, n);
  // A few chunks per thread even out uneven rows without making the counter hot.
  const int64_t chunk = std::max(grain, (n + threads * 4 - 1) / (threads * 4));
  Region region{fn, ctx, n, chunk, threads - 1, {}};
  if (opswap_host_parallel run = host_parallel())
    run([](void *r) { static_cast<Region *>(r)->work(); }, &region, unsigned(threads), 0);
  else
    run_on_pool(region);
}

void *scratch(int slot, size_t bytes) {
  struct Free {
    void operator()(void *p) const { std::free(p); }
  };
  struct Buffer {
    std::unique_ptr<void, Free> data;
    size_t size = 0;
  };
  thread_local Buffer buffers[kScratchSlots];
  Buffer &b = buffers[slot];
  if (b.size < bytes) {
    const size_t rounded = (std::max(bytes, b.size + b.size / 2) + 63) / 64 * 64;
    b.data.reset();
    b.data.reset(std::aligned_alloc(64, rounded));
    b.size = b.data ? rounded : 0;
  }
  return b.data.get();
}

}  // namespace opswap

using namespace opswap;

extern "C" {

opswap_status opswap_set_threads(int32_t n) {
  const int32_t most = affinity_count();
  if (n < 0 || n > most)
    return fail(OPSWAP_E_ARGUMENT,
                "opswap_set_threads: got %d, needs 1 to %d (CPUs in the affinity mask), or 0 for all", n, most);
  wanted_threads = n;
  share_threads(n);
  return OPSWAP_OK;
}

int32_t opswap_get_threads(void) { return thread_count(); }

opswap_status opswap_set_host_parallel(opswap_host_parallel run) {
  host_run = run;
  share_host_parallel(run);
  return OPSWAP_OK;
}
}
