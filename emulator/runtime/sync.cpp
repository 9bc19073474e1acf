// Barriers of a block's threads, named ones too, and meetings of a warp's lanes (shuffles, votes).
#include "block.h"

namespace opswap::emu {
namespace {

void pass(uint32_t id) {
  NamedBarrier &barrier = block().barriers[id];
  block().barriers_begun &= ~(1u << id);
  barrier.arrived = barrier.expected = 0;
  barrier.after_wait[barrier.generation & 1] = block().waited;
  ++barrier.generation;
  wake(barrier.waiting);
}

[[gnu::noinline]] Meeting *find_meeting(Block &b, uint32_t warp, uint32_t mask) {
  auto &meetings = b.meetings[warp];
  for (auto &meeting : meetings)
    if (meeting->mask == mask) return meeting.get();
  meetings.push_back(std::make_unique<Meeting>());
  meetings.back()->mask = mask;
  return meetings.back().get();
}

Meeting &meeting_of(Block &b, uint32_t warp, uint32_t mask) {
  Meeting *&last = b.last_meeting[warp];
  if (!last || last->mask != mask) last = find_meeting(b, warp, mask);
  return *last;
}

const char *name_of(Collective what) {
  switch (what) {
    case Collective::kSync:
      return "__syncwarp";
    case Collective::kShuffle:
      return "shuffle";
    case Collective::kBallot:
      return "vote";
    case Collective::kMatch:
      return "match";
    case Collective::kMatrix:
      return "ldmatrix or stmatrix";
    case Collective::kPublish:
      return "tensormap.cp_fenceproxy";
    case Collective::kRegisters:
      return "setmaxnreg";
    case Collective::kElect:
      return "elect_one";
    default:
      return "warp reduction";
  }
}

[[gnu::cold]] void refuse_lanes(uint32_t mask, Collective what) {
  const Thread &t = self();
  if (!(mask >> t.lane & 1)) fail("%s: lane %u is not in its own mask 0x%08x", name_of(what), t.lane, mask);
  const uint32_t first = t.linear - t.lane, count = uint32_t(block().threads.size()) - first;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    if (lane >= count) fail("%s: mask 0x%08x names lane %u, the warp has %u", name_of(what), mask, lane, count);
    if (block().threads[first + lane].done)
      fail("%s: mask 0x%08x names lane %u, which has ended", name_of(what), mask, lane);
  }
}

}  // namespace

void barrier(uint32_t id, uint32_t threads, bool wait) {
  race::Ignore ignore;
  if (id > 15) fail("barrier %u: a block has 16, numbered 0 to 15", id);
  if (threads % 32 || threads > block().threads.size())
    fail("barrier %u: %u threads are not whole warps of a block of %zu", id, threads, block().threads.size());
  NamedBarrier &b = block().barriers[id];
  ++block().counters->barriers;
  if (b.arrived && b.expected != threads)
    fail("barrier %u: called for %u threads while it waits for %u (0: the whole block)", id, threads, b.expected);
  b.expected = threads;
  block().barriers_begun |= 1u << id;
  const uint64_t generation = b.generation;
  release(b.phase[generation & 1]);
  if (wait) converge_at_barrier();
  if (++b.arrived >= (threads ? threads : block().live)) pass(id);
  if (!wait) return;
  while (b.generation == generation) park(b.waiting, {"barrier", nullptr, id});
  acquire(b.phase[generation & 1]);
  acquire_dependency(b.after_wait[generation & 1]);
}

void thread_ended() {
  for (uint32_t begun = block().barriers_begun; begun; begun &= begun - 1) {
    const uint32_t id = uint32_t(std::countr_zero(begun));
    const NamedBarrier &b = block().barriers[id];
    if (!b.expected && b.arrived >= block().live - 1) pass(id);
  }
}

const uint64_t *collective(uint32_t mask, Collective what, uint64_t in) {
  race::Ignore ignore;
  Block &b = block();
  const Thread &t = self();
  if (mask & ~b.live_lanes[t.warp] || !(mask >> t.lane & 1)) refuse_lanes(mask, what);
  ++b.counters->collectives;
  Meeting &m = meeting_of(b, t.warp, mask);
  if (m.arrived && m.what != what)
    fail("divergent warp: lanes of mask 0x%08x meet in %s and in %s", mask, name_of(m.what), name_of(what));
  m.what = what;
  const uint64_t generation = m.generation;
  uint64_t *values = m.values[generation & 1];
  if (what == Collective::kSync) release(values);
  values[t.lane] = in;
  m.arrived |= 1u << t.lane;
  if (m.arrived == mask) {
    converge(mask);
    m.after_wait[generation & 1] = b.waited;
    ++m.generation;
    b.ready.add(t.warp, m.waiting);
    m.arrived = m.waiting = 0;
  }
  while (m.generation == generation) {
    m.waiting |= 1u << t.lane;
    park({name_of(what), nullptr, t.warp, " of warp"});
  }
  if (what == Collective::kSync) acquire(values), acquire_dependency(m.after_wait[generation & 1]);
  return values;
}

bool elect_one() {
  collective(0xffffffffu, Collective::kElect, 0);
  return self().lane == options().seed * 11 % 32;
}

}  // namespace opswap::emu
