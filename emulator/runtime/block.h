// A block while it runs: its threads, what they wait for, its shared memory and its asynchronous units. The blocks of
// a cluster run side by side.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulator/emulator.h"
#include "race.h"
#include "ready.h"
#include "stream.h"
#include "traffic.h"

namespace opswap::emu {

constexpr size_t kMaxSmem = 227 * 1024;  // of a block, on sm_90
constexpr int kPoison = 0xff;

// What a thread stands still for, for the report of a deadlock.
struct Wait {
  const char *what = "";
  const void *on = nullptr;  // an mbarrier, of which the report tells the state
  uint32_t value = 0;        // number of the barrier, group or warp, or parity of the phase
  const char *of = "";       // what the number counts, where `what` does not say it
};

struct Block;

struct alignas(64) Thread : ThreadView {  // what each switch touches comes first, in one line of the cache
  Block *owner = nullptr;
  void *stack_pointer = nullptr;
  const Wait *wait = nullptr;  // on its stack
  char *stack = nullptr;
  bool done = false;
  bool early = false;  // has not waited for the kernels in front
  uint64_t cluster_arrivals = 0, cluster_waits = 0, register_changes = 0;
  void *fake_stack = nullptr;                 // AddressSanitizer's
  void *context = nullptr, *proxy = nullptr;  // ThreadSanitizer's
};

using Queue = std::vector<Thread *>;

struct NamedBarrier {
  uint32_t arrived = 0, expected = 0;
  uint64_t generation = 0;
  Queue waiting;
  bool after_wait[2]{};  // whether an even and an odd generation came after a dependency_wait()
  char phase[2][2]{};    // what the sanitizer knows an even and an odd generation by: who is late must not see the next
};

struct Meeting {  // of the lanes of one mask
  uint32_t mask = 0, arrived = 0, waiting = 0;
  Collective what{};
  bool after_wait[2]{};
  uint64_t generation = 0, values[2][32]{};  // of even and of odd ones: a lane may still read the last
};

// A unit that works beside the threads; the scheduler calls it at times that the seed picks.
struct AsyncUnit {
  bool late = false;  // works only when no thread can run
  virtual ~AsyncUnit() = default;
  virtual bool has_work() const = 0;
  virtual void work() = 0;
  virtual const char *unfinished() = 0;  // what was left at the end of the block, or nullptr
};

struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;  // by rank
  uint64_t generation = 0;                     // phases of the cluster's barrier that are complete
  uint32_t pending = 0;                        // threads that have neither arrived in this phase nor ended
  Queue waiting;
  char phase[2][2]{};  // what the sanitizer knows a phase by
};

struct Block : BlockView {
  Cluster *cluster = nullptr;
  const Launch *launch = nullptr;
  const std::function<void()> *body = nullptr;
  Counters *counters = nullptr;
  std::vector<Thread> threads;
  Ready ready;
  uint32_t live = 0;
  std::vector<uint32_t> live_lanes;  // of each warp
  std::string error;
  std::string place;             // of the error
  const void *blamed = nullptr;  // who asked for what an asynchronous unit does now
  bool asking = false;           // a resumed thread only says where it waits
  std::string answer;
  uint64_t random = 1;

  unsigned char *smem = nullptr;
  size_t smem_used = 0;     // dynamic, then static
  size_t static_bytes = 0;  // of the variables that the kernel has come to
  std::vector<std::pair<const void *, size_t>> static_smem;

  NamedBarrier barriers[16];
  uint32_t barriers_begun = 0;                                  // bit of each that some threads have reached
  std::vector<std::vector<std::unique_ptr<Meeting>>> meetings;  // of each warp
  std::vector<Meeting *> last_meeting;                          // of each warp: most often the next one, too
  std::map<uint64_t *, Queue> mbarrier_waiting;
  Queue asked_too_early;   // tests of an mbarrier that was not complete: they end when something else has happened
  uint32_t fruitless = 0;  // times that nothing had, since an mbarrier was complete
  std::vector<std::unique_ptr<AsyncUnit>> units;
  Dependency *dependency = nullptr;                           // null: no stream
  bool waited = false, triggered = false, let_early = false;  // of dependency_wait() and dependency_trigger()
  WarpTraffic *warps = nullptr;
  LaunchTraffic *traffic = nullptr;

  void *stack_pointer = nullptr, *fake_stack = nullptr, *context = nullptr;  // the scheduler's
  const void *stack_bottom = nullptr;
  size_t stack_size = 0;

  uint64_t draw() {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random >> 16;
  }
};

extern constinit thread_local Block *running;
inline Block &block() { return *running; }  // the running thread's or unit's, or the peer that it acts on
class OnPeer {                              // until the end of the scope block() is another block of the cluster
 public:
  explicit OnPeer(Block &peer);
  ~OnPeer();
  OnPeer(const OnPeer &) = delete;

 private:
  Block *from_;
};
inline Thread &self() { return *static_cast<Thread *>(thread_view); }

void park(const Wait &wait);  // until somebody makes it ready
void park(Queue &queue, const Wait &wait);
void wake(Queue &queue);
void run_cluster(Cluster &cluster);
Block &peer(uint32_t rank, const char *what);  // of this block's cluster; fails if it has ended
void cluster_thread_ended();
void thread_ended();                       // a barrier of the whole block may be complete now
std::string mbarrier_state(const void *);  // for reports

std::string line_here();  // "file:line" of the kernel that called the emulator, or nothing without debug information
std::string line_at(const void *return_address);
void remember(const Launch &how, const Report &report);  // for opswap_emulator_launches
bool on_own_stack(const void *p);
void note_access(const void *site, const void *p, uint32_t bytes, Access kind);  // of the running thread
void converge(uint32_t lanes);  // these lanes of the running thread's warp are at the same point
void converge_at_barrier();     // as is the running thread, alone

inline void *proxy_of(void *object) { return static_cast<char *>(object) + 1; }

// The running thread comes after a dependency_wait() of its block.
inline void acquire_dependency(bool waited) {
  if (waited) self().early = false;
}

// As seen by the running thread, also through the asynchronous proxy.
inline void acquire(void *object) {
  if constexpr (!race::kThreads) return;
  race::acquire(object);
  race::enter(self().proxy);
  race::acquire(proxy_of(object));
  race::enter(self().context);
}
inline void release(void *object) {
  if constexpr (!race::kThreads) return;
  race::release(object);
  race::enter(self().proxy);
  race::release(proxy_of(object));
  race::enter(self().context);
}

}  // namespace opswap::emu
