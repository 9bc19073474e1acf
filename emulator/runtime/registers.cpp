// setmaxnreg: registers that the warpgroups of a block hand to each other, out of those that it was launched with.
#include <algorithm>
#include <cstdio>

#include "block.h"
#include "unit.h"

namespace opswap::emu {
namespace {

constexpr uint32_t kOfSm = 65536, kMostOfThread = 256, kStep = 8, kWarps = 4;  // of a warpgroup

struct Held {  // by a warp, of each of its threads
  uint32_t now = 0;
  std::vector<uint32_t> asked;
  const void *site = nullptr;
};

struct Registers : AsyncUnit {  // a unit without work, so that it is asked at the end of the block
  uint32_t all = 0, free = 0;
  std::vector<Held> warps;
  Queue waiting;

  bool has_work() const override { return false; }
  void work() override {}
  const char *unfinished() override {
    for (size_t w = 0; w < warps.size(); ++w) {
      const Held &first = warps[w / kWarps * kWarps];
      if (warps[w].asked.size() == first.asked.size()) continue;
      block().blamed = warps[w].asked.size() > first.asked.size() ? warps[w].site : first.site;
      return "a setmaxnreg that not all warps of the warpgroup had executed";
    }
    return nullptr;
  }
  void start() {
    const auto threads = uint32_t(block().threads.size());
    const uint32_t compiled = block().launch->registers;
    const uint32_t each = compiled ? compiled : std::min(kMostOfThread, kOfSm / threads / kStep * kStep);
    warps.resize(block().live_lanes.size());
    for (Held &held : warps) held.now = each;
    all = each * 32 * uint32_t(warps.size());
  }
};

Registers &registers() {
  auto &found = unit<Registers>(kLateCopies);
  if (found.warps.empty()) found.start();
  return found;
}

// A warp is at most one change ahead of the others of its warpgroup, and asks for what they ask for.
void check_warpgroup(const Registers &r, uint32_t count, const char *what) {
  const uint32_t warp = self().warp, first = warp / kWarps * kWarps;
  const size_t number = r.warps[warp].asked.size();
  for (uint32_t w = first; w < first + kWarps; ++w) {
    const auto &others = r.warps[w].asked;
    if (others.size() < number)
      fail("%s: warp %u asks again before warp %u of its warpgroup has asked (missing barrier)", what, warp, w);
    if (others.size() > number && others[number] != count)
      fail("%s: warp %u asks for %u registers, warp %u of its warpgroup for %u", what, warp, count, w, others[number]);
  }
}

bool change(Registers &r, Held &held, uint32_t count) {
  const uint32_t before = held.now * 32, after = count * 32;
  if (after > before && after - before > r.free) return false;
  r.free += before - after;
  held.now = count;
  wake(r.waiting);
  return true;
}

}  // namespace

void set_registers(uint32_t count, bool grow) {
  race::Ignore ignore;
  Thread &t = self();
  const char *what = grow ? "setmaxnreg.inc" : "setmaxnreg.dec";
  if (block().threads.size() % (32 * kWarps))
    fail("%s: %zu threads are not whole warpgroups", what, block().threads.size());
  const uint64_t asks = uint64_t{count} << 1 | uint64_t{grow}, *all = collective(~0u, Collective::kRegisters, asks);
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (all[lane] != asks)
      fail("divergent warp: %s to %u registers, and lane %u asks for another change", what, count, lane);
  Registers &r = registers();
  Held &held = r.warps[t.warp];
  if (held.asked.size() == t.register_changes++) {  // the first lane asks for all
    // ptxas compiles for the largest count that a kernel asks for, if that is not too many
    const bool from_fewer = grow && held.asked.empty() && !block().launch->registers;
    if (grow ? count < held.now && !from_fewer : count > held.now)
      fail("%s: to %u registers, the warp has %u", what, count, held.now);
    check_warpgroup(r, count, what);
    held.asked.push_back(count);
    held.site = __builtin_return_address(0);
  }
  while (held.now != count && !change(r, held, count)) {
    char reason[160];
    std::snprintf(reason, sizeof reason, "%s to %u registers, %u of the block's %u are free, in warpgroup", what, count,
                  r.free, r.all);
    park(r.waiting, {reason, nullptr, t.warp / kWarps});
  }
}

}  // namespace opswap::emu
