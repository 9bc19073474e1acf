// Barriers of threads and meetings of lanes.
#include "block.h"

namespace opswap::emu {
namespace {

void pass(NamedBarrier &barrier) {
  barrier.arrived = barrier.expected = 0;
  ++barrier.generation;
  wake(barrier.waiting);
}

Meeting &meeting_of(uint32_t mask) {
  auto &meetings = block().meetings[self().warp];
  for (auto &meeting : meetings)
    if (meeting->mask == mask) return *meeting;
  meetings.push_back(std::make_unique<Meeting>());
  meetings.back()->mask = mask;
  return *meetings.back();
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
    default:
      return "warp reduction";
  }
}

void check_lanes(uint32_t mask, Collective what) {
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
  release(&b);
  const uint64_t generation = b.generation;
  if (wait) converge_at_barrier();
  if (++b.arrived >= (threads ? threads : block().live)) pass(b);
  if (!wait) return;
  while (b.generation == generation) park(b.waiting, {"barrier", nullptr, id});
  acquire(&b);
}

void thread_ended() {
  for (auto &[id, b] : block().barriers)
    if (b.arrived && !b.expected && b.arrived >= block().live - 1) pass(b);
}

void collective(uint32_t mask, Collective what, uint64_t in, uint64_t (&out)[32]) {
  race::Ignore ignore;
  check_lanes(mask, what);
  ++block().counters->collectives;
  Meeting &m = meeting_of(mask);
  if (m.arrived && m.what != what)
    fail("divergent warp: lanes of mask 0x%08x meet in %s and in %s", mask, name_of(m.what), name_of(what));
  m.what = what;
  if (what == Collective::kSync) release(&m);
  m.values[self().lane] = in;
  m.arrived |= 1u << self().lane;
  const uint64_t generation = m.generation;
  if (m.arrived == mask) {
    converge(mask);
    std::memcpy(m.results[generation & 1], m.values, sizeof m.values);
    m.arrived = 0;
    ++m.generation;
    wake(m.waiting);
  }
  while (m.generation == generation) park(m.waiting, {name_of(what), nullptr, self().warp, " of warp"});
  if (what == Collective::kSync) acquire(&m);
  std::memcpy(out, m.results[generation & 1], sizeof out);
}

}  // namespace opswap::emu
