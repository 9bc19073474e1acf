// Joins the accesses of a warp's lanes, and counts bytes, sectors and bank conflicts of each.
#include "traffic.h"

#include <algorithm>

#include "block.h"

namespace opswap::emu {
namespace {

constexpr uint32_t kSector = 32, kBanks = 32, kWord = 4;

// Lanes that follow each other in memory, as most accesses do.
bool is_run(const uint64_t *address, int n, uint32_t bytes) {
  for (int i = 1; i < n; ++i)
    if (address[i] != address[i - 1] + bytes) return false;
  return true;
}

// Each byte and each sector once: lanes that name the same ones share them.
void count_global(LaunchTraffic &launch, uint64_t *address, int n, uint32_t bytes, Access kind) {
  if (is_run(address, n, bytes)) return launch.global(address[0], uint64_t(n) * bytes, kind);
  std::sort(address, address + n);
  uint64_t total = 0, covered = 0, next_sector = 0;
  for (int i = 0; i < n; ++i) {
    const uint64_t end = address[i] + bytes, first = std::max(address[i], covered);
    if (end > first) total += end - first, launch.touch(first, end - first, kind);
    covered = std::max(covered, end);
    const uint64_t sector = std::max(address[i] / kSector, next_sector), last = (end - 1) / kSector;
    if (sector <= last) launch.sectors(sector, last, kind), next_sector = last + 1;
  }
  (kind == Access::kLoad ? launch.counters->load_bytes : launch.counters->store_bytes) += total;
}

}  // namespace

uint32_t shared_passes(const uint64_t *address, uint32_t lanes, uint32_t bytes, uint32_t &least) {
  const uint32_t lanes_of_part = kBanks * kWord / std::max(bytes, kWord);
  uint32_t passes = 0;
  least = 0;
  const int n = std::popcount(lanes);
  if (!(lanes & (lanes + 1)) && (is_run(address, n, bytes) || is_run(address, n, 0)))  // words side by side, or one
    return least = (uint32_t(n) + lanes_of_part - 1) / lanes_of_part;
  for (uint32_t first = 0; first < 32; first += lanes_of_part) {
    uint64_t words[32 * 4];
    uint32_t count = 0, in_bank[kBanks]{}, worst = 0;
    for (uint32_t lane = first; lane < first + lanes_of_part; ++lane)
      if (lanes >> lane & 1)
        for (uint64_t w = address[lane] / kWord; w <= (address[lane] + bytes - 1) / kWord; ++w) words[count++] = w;
    std::sort(words, words + count);
    count = uint32_t(std::unique(words, words + count) - words);
    for (uint32_t i = 0; i < count; ++i) worst = std::max(worst, ++in_bank[words[i] % kBanks]);
    passes += worst;
    least += count > 0;
  }
  return passes;
}

const void *LaunchTraffic::worst() const {
  return std::max_element(conflicts.begin(), conflicts.end(), [](auto &a, auto &b) { return a.second < b.second; })
      ->first;
}

void LaunchTraffic::sectors(uint64_t first, uint64_t last, Access kind) {
  if (kind == Access::kLoad) {
    counters->load_sectors += last - first + 1;
    counters->distinct_load_sectors += loaded.add(first, last);
  } else {
    counters->store_sectors += last - first + 1;
    counters->distinct_store_sectors += stored.add(first, last);
  }
}

void LaunchTraffic::global(uint64_t address, uint64_t bytes, Access kind) {
  race::Ignore ignore;  // by a unit in a context of its own; blocks of a cluster share what is counted
  (kind == Access::kLoad ? counters->load_bytes : counters->store_bytes) += bytes;
  if (bytes) touch(address, bytes, kind), sectors(address / kSector, (address + bytes - 1) / kSector, kind);
}

WarpTraffic *LaunchTraffic::warps_of(uint32_t rank, size_t count) {
  if (warps_.size() <= rank) warps_.resize(rank + 1);
  warps_[rank].resize(count);
  return warps_[rank].data();
}

WarpTraffic::Site &WarpTraffic::site_of(const void *place, uint32_t bytes, Access kind, bool shared) {
  auto same = [&](const Site &s) {
    return s.place == place && s.shared == shared && s.bytes == bytes && s.kind == kind;
  };
  uint8_t &likely = likely_[reinterpret_cast<uintptr_t>(place) / 4 % std::size(likely_)];
  if (likely < sites_.size() && same(sites_[likely])) return sites_[likely];
  for (size_t i = 0; i < sites_.size(); ++i)
    if (same(sites_[i])) return likely = uint8_t(i), sites_[i];
  likely = uint8_t(sites_.size());
  Site &added = sites_.emplace_back();
  added.place = place, added.bytes = bytes, added.kind = kind, added.shared = shared;
  return added;
}

void WarpTraffic::add(uint32_t lane, const void *site, uint64_t address, uint32_t bytes, Access kind, bool shared) {
  Site &s = site_of(site, bytes, kind, shared);
  used_ = true;
  const uint32_t number = s.made[lane]++;
  if (number >= s.group.size()) s.group.emplace_back();
  s.groups = std::max<size_t>(s.groups, number + 1);
  Group &g = s.group[number];
  g.lanes |= 1u << lane;
  g.address[lane] = address;
}

void WarpTraffic::flush(LaunchTraffic &launch) {
  waiting = 0;
  if (!used_) return;
  used_ = false;
  for (Site &s : sites_) {
    for (size_t i = 0; i < s.groups; ++i) {
      Group &g = s.group[i];
      if (s.kind == Access::kWait) {
        ++launch.counters->mbarrier_waits;
      } else if (s.shared) {
        uint32_t least;
        const uint32_t passes = shared_passes(g.address, g.lanes, s.bytes, least);
        ++launch.counters->shared_accesses;
        launch.counters->shared_passes += passes;
        launch.counters->bank_conflicts += passes - least;
        if (passes > least) launch.conflicts[s.place] += passes - least;
      } else {
        uint64_t address[32];
        int n = 0;
        for (uint32_t lane = 0; lane < 32; ++lane)
          if (g.lanes >> lane & 1) address[n++] = g.address[lane];
        count_global(launch, address, n, s.bytes, s.kind);
      }
      g.lanes = 0;
    }
    if (s.groups) std::fill(std::begin(s.made), std::end(s.made), 0u);
    s.groups = 0;
  }
}

void access_global(const void *p, uint32_t bytes, Access kind) {
  race::Ignore ignore;
  check_aligned(p, bytes);
  const Block &b = block();
  const auto *byte = static_cast<const unsigned char *>(p);
  if (byte >= b.smem && byte < b.smem + b.smem_used)
    fail("a global access to shared memory, at its byte %u", uint32_t(byte - b.smem));
  if (self().early) check_in_front(p, bytes, kind);
  note_access(__builtin_return_address(0), p, bytes, kind);
}

void access_shared(const void *p, uint32_t bytes, Access kind) {
  race::Ignore ignore;
  check_aligned(p, bytes);
  check_smem(p, bytes, "a shared access");
  note_access(__builtin_return_address(0), p, bytes, kind);
}

void access_atomic(const void *p, uint32_t bytes) {
  const Block &b = block();
  if (!b.dependency) return;
  race::Ignore ignore;
  const auto *byte = static_cast<const unsigned char *>(p);
  if (byte >= b.smem && byte < b.smem + b.smem_used) return;
  if (self().early) check_in_front(p, bytes, Access::kStore);
  if (race::kThreads) return;
  b.dependency->touched.read.add(reinterpret_cast<uint64_t>(p), bytes);
  b.dependency->touched.written.add(reinterpret_cast<uint64_t>(p), bytes);
}

void note_access(const void *site, const void *p, uint32_t bytes, Access kind) {
  if constexpr (race::kThreads) return;  // counting is the other builds' work
  const Block &b = block();
  const auto *byte = static_cast<const unsigned char *>(p);
  const bool shared = byte >= b.smem && byte < b.smem + b.smem_used;
  if (!shared && on_own_stack(p)) return;
  const Thread &t = self();
  b.warps[t.warp].add(t.lane, site, shared ? uint64_t(byte - b.smem) : reinterpret_cast<uint64_t>(p), bytes, kind,
                      shared);
}

void converge(uint32_t lanes) {
  const Block &b = block();
  const uint32_t warp = self().warp;
  if (!race::kThreads && lanes == b.live_lanes[warp]) b.warps[warp].flush(*b.traffic);
}

void converge_at_barrier() {
  if constexpr (race::kThreads) return;
  const Block &b = block();
  WarpTraffic &warp = b.warps[self().warp];
  warp.waiting |= 1u << self().lane;
  if (warp.waiting != b.live_lanes[self().warp]) return;
  ++b.counters->barrier_waits;
  warp.flush(*b.traffic);
}

}  // namespace opswap::emu
