// Runs the threads of a cluster as fibers, in an order that the seed picks: parks and wakes them, ends blocks, and
// reports deadlocks and failures.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <stdexcept>

#include "block.h"
#include "deadlock.h"
#include "stacks.h"
#include "switch.h"

namespace opswap::emu {

constinit thread_local ThreadView *thread_view = nullptr;
constinit thread_local BlockView *block_view = nullptr;
constinit thread_local Block *running = nullptr;

namespace {

constexpr uint32_t kMostFruitless = 10000;
constexpr uint64_t kUnitTurns = 4;               // an early unit works once in so many turns
constinit thread_local Block *acting = nullptr;  // whose thread or unit it is

thread_local Resources resources;

[[gnu::always_inline]] inline void to_scheduler() {
  Thread &t = self();
  Block &b = *t.owner;
  race::enter(b.context);
  race::start_switch(t.done ? nullptr : &t.fake_stack, b.stack_bottom, b.stack_size);
  switch_stack(&t.stack_pointer, b.stack_pointer);
  race::finish_switch(t.fake_stack, nullptr, nullptr);
}

// As the scheduler would go on, where it has nothing else to choose from.
[[gnu::always_inline]] inline void to_thread(Thread &next) {
  Thread &t = self();
  ++t.owner->counters->switches;
  thread_view = &next;
  race::start_switch(&t.fake_stack, next.stack, kStack);
  race::enter(next.context);
  switch_stack(&t.stack_pointer, next.stack_pointer);
  race::finish_switch(t.fake_stack, nullptr, nullptr);
}

void entry() {
  const bool from_scheduler = !block().stack_bottom;  // as the first thread comes
  race::finish_switch(nullptr, from_scheduler ? &block().stack_bottom : nullptr,
                      from_scheduler ? &block().stack_size : nullptr);
  (*block().body)();
  cluster_thread_ended();
  self().done = true;
  block().live_lanes[self().warp] &= ~(1u << self().lane);
  {
    race::Ignore ignore;
    thread_ended();
  }
  to_scheduler();
  __builtin_trap();
}

size_t fiber_of(const Thread &t) { return t.owner->rank * t.owner->threads.size() + t.linear; }

void prepare(Block &b, Thread &t, size_t index, const uint3 &thread) {
  t.owner = &b;
  t.early = b.dependency && b.dependency->programmatic;
  t.linear = uint32_t(index);
  t.thread = thread;
  t.warp = t.linear / 32;
  t.lane = t.linear % 32;
  const auto &fiber = resources.at(fiber_of(t));
  t.stack = fiber.stack;
  t.context = fiber.context;
  t.proxy = fiber.proxy;
  race::unpoison(fiber.stack, kStack);
  auto **top = reinterpret_cast<void **>(fiber.stack + kStack - 64 - index % kColours * kColour);
  *--top = nullptr;                          // where entry would return to
  *--top = reinterpret_cast<void *>(entry);  // where the switch goes on
  t.stack_pointer = top;
  race::enter(t.proxy);
  race::acquire(&b);
  race::enter(t.context);
  race::acquire(&b);
  race::enter(b.context);
  b.ready.add(t.warp, 1u << t.lane);
  b.live_lanes[t.warp] |= 1u << t.lane;
}

void act(Block &b) {
  running = acting = &b;
  block_view = &b;
}

[[gnu::always_inline]] inline void resume(Thread &t) {
  Block &b = *t.owner;
  act(b);
  thread_view = &t;
  ++b.counters->switches;
  race::start_switch(&b.fake_stack, t.stack, kStack);
  race::enter(t.context);
  switch_stack(&b.stack_pointer, t.stack_pointer);
  race::finish_switch(b.fake_stack, nullptr, nullptr);
  running = &b;  // the thread may have ended while it acted on a peer
  b.live -= self().done;
  thread_view = nullptr;
}

// A unit of the block with work whose turn it is, or nullptr; when no thread can run, late ones come after the others.
AsyncUnit *unit_to_work() {
  Block &b = block();
  const size_t first = b.units.empty() ? 0 : b.draw() % b.units.size();
  AsyncUnit *late = nullptr;
  for (size_t i = 0; i < b.units.size(); ++i) {
    AsyncUnit *unit = b.units[(first + i) % b.units.size()].get();
    if (!unit->has_work()) continue;
    if (unit->late)
      late = unit;
    else if (b.ready.empty() || b.draw() % kUnitTurns == 0)
      return unit;
  }
  return b.ready.empty() ? late : nullptr;
}

std::string place(const Block &b) {
  char text[200];
  std::snprintf(text, sizeof text, "%s, block (%u, %u, %u)", b.launch->name, b.block.x, b.block.y, b.block.z);
  return text;
}

std::string where_it_waits(Thread &t) {
  t.owner->asking = true;
  resume(t);
  t.owner->asking = false;
  return t.owner->answer;
}

void fail_deadlocked(Cluster &c) {
  const Deadlock told = tell_deadlock(c, where_it_waits);
  act(*c.blocks[0]);
  if (acting->place.empty()) acting->place = told.place;
  fail("%s", told.text.c_str());
}

// Whether a thread of the block can run or a unit work; a late unit only when nothing else in the cluster can go on.
bool can_go_on(const Block &b, bool late) {
  return !b.ready.empty() || std::any_of(b.units.begin(), b.units.end(),
                                         [&](auto &unit) { return (late || !unit->late) && unit->has_work(); });
}

Block *block_to_go_on(Cluster &c) {
  const bool in_turn = options().seed & 4;
  const size_t n = c.blocks.size(), first = n == 1 || in_turn ? 0 : c.blocks[0]->draw() % n;
  for (const bool late : {false, true})
    for (size_t i = 0; i < n; ++i)
      if (Block *b = c.blocks[(first + i) % n].get(); n == 1 || can_go_on(*b, late)) return b;
  return nullptr;
}

void block_ended(Block &b) {
  for (auto &unit : b.units)
    if (const char *left = unit->unfinished()) fail("the block ended with %s", left);
}

// Nothing else can go on: tests of mbarriers say no, and their threads may ask again, so often that a loop which gives
// up at some time has done so.
bool let_ask_again(Cluster &c) {
  bool any = false;
  for (auto &b : c.blocks) {
    if (b->asked_too_early.empty() || ++b->fruitless > kMostFruitless) continue;
    wake(b->asked_too_early), any = true;
  }
  return any;
}

void turn(Cluster &c) {
  Block *picked = block_to_go_on(c);
  if (!picked && let_ask_again(c)) return;
  if (!picked) return fail_deadlocked(c);
  Block &b = *picked;
  act(b);
  if (AsyncUnit *unit = unit_to_work()) return unit->work();
  if (b.ready.empty() && let_ask_again(c)) return;
  if (b.ready.empty()) return fail_deadlocked(c);
  resume(b.threads[b.ready.take([&b] { return b.draw(); })]);
  if (!b.live && b.error.empty()) block_ended(b);
}

void start(Block &b) {
  const size_t threads = size_t{b.block_size.x} * b.block_size.y * b.block_size.z;
  act(b);
  b.context = race::current();
  b.threads.resize(threads);
  b.meetings.resize((threads + 31) / 32);
  b.last_meeting.resize(b.meetings.size());
  b.live_lanes.resize((threads + 31) / 32);
  b.ready.resize((threads + 31) / 32);
  b.warps = b.traffic->warps_of(b.rank, (threads + 31) / 32);
  b.live = uint32_t(threads);
  b.cluster->pending += b.live;
  race::release(&b);
  size_t i = 0;
  for (uint32_t z = 0; z < b.block_size.z; ++z)
    for (uint32_t y = 0; y < b.block_size.y; ++y)
      for (uint32_t x = 0; x < b.block_size.x; ++x, ++i) prepare(b, b.threads[i], i, {x, y, z});
}

void finish(Block &b) {
  for (size_t warp = 0; warp < b.live_lanes.size(); ++warp) b.warps[warp].flush(*b.traffic);
  for (Thread &t : b.threads) {  // the next block starts after this one
    if (!t.context) continue;
    race::enter(t.context);
    race::release(&b);
  }
  race::enter(b.context);
  race::acquire(&b);
}

}  // namespace

OnPeer::OnPeer(Block &peer) : from_(running) { running = &peer; }
OnPeer::~OnPeer() { running = from_; }

bool on_own_stack(const void *p) {
  const auto *byte = static_cast<const char *>(p);
  return byte >= self().stack && byte < self().stack + kStack;
}

void park(const Wait &wait) {
  Thread &t = self();
  Block &b = *t.owner;
  t.wait = &wait;
  if (b.units.empty() && !b.ready.empty() && b.cluster->blocks.size() == 1) {
    Thread &next = b.threads[b.ready.take([&b] { return b.draw(); })];
    const Thread &after = b.threads[b.ready.likely(next.linear)];
    __builtin_prefetch(&after + 1);  // most likely the one behind it
    __builtin_prefetch(after.stack_pointer);
    __builtin_prefetch(static_cast<char *>(after.stack_pointer) + 64);
    to_thread(next);
  } else
    to_scheduler();
  while (self().owner->asking) {
    self().owner->answer = line_here();
    to_scheduler();
  }
}

void park(Queue &queue, const Wait &wait) {
  queue.push_back(&self());
  park(wait);
}

void wake(Queue &queue) {
  for (Thread *t : queue) t->owner->ready.add(t->warp, 1u << t->lane);
  queue.clear();
}

void fail(const char *format, ...) {
  race::Ignore ignore;
  if (!running) throw std::runtime_error("emulator: device code called outside a kernel");
  char text[4000];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  Block &b = *acting;
  auto *thread = static_cast<Thread *>(thread_view);
  std::string who = place(b);
  if (thread) who += ", thread " + std::to_string(thread->linear);
  if (b.place.empty()) b.place = thread ? line_here() : line_at(b.blamed);
  if (!b.place.empty() && std::strncmp(text, "deadlock", 8)) who += ", at " + b.place;
  if (b.error.empty()) b.error = who + ": " + text;
  if (!thread) throw std::runtime_error(b.error);
  thread->done = true;
  to_scheduler();
  __builtin_trap();
}

void run_cluster(Cluster &c) {
  race::Ignore ignore;
  try {
    for (auto &b : c.blocks) start(*b);
    while (std::any_of(c.blocks.begin(), c.blocks.end(), [](auto &b) { return b->live > 0; })) {
      turn(c);
      if (!acting->error.empty()) break;
    }
    for (auto &b : c.blocks)
      if (acting->error.empty()) act(*b), block_ended(*b);
  } catch (const std::runtime_error &error) {
    if (acting->error.empty()) acting->error = error.what();
  }
  const bool failed = !acting->error.empty();
  for (auto &b : c.blocks) finish(*b);
  if (failed) resources.renew(c.blocks.size() * c.blocks[0]->threads.size());
  running = acting = nullptr;
  block_view = nullptr;
  thread_view = nullptr;
}

}  // namespace opswap::emu
