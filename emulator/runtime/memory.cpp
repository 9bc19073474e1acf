// Shared memory of a block, static and dynamic, with guards; and run(), which checks and starts a launch.
#include <cstdlib>
#include <stdexcept>

#include "block.h"

namespace opswap::emu {
namespace {

constexpr size_t kGuard = 1024;                   // behind the dynamic part; a store there is found when the block ends
constexpr size_t kArena = kMaxSmem + 4 * kGuard;  // and what alignment takes
constexpr uint64_t kMaxCluster = 16;

struct Arena {  // never freed: fibers that a report left in mid-kernel would race with that, to ThreadSanitizer
  unsigned char *bytes = static_cast<unsigned char *>(std::aligned_alloc(1024, (kArena + 1023) / 1024 * 1024));
};
thread_local std::vector<Arena> arenas;  // of each rank

void fill(Block &b) {
  while (arenas.size() <= b.rank) arenas.emplace_back();
  b.smem = arenas[b.rank].bytes;
  race::unpoison(b.smem, kArena);
  std::memset(b.smem, kPoison, kArena);
  race::poison(b.smem + b.launch->smem, kGuard);
  b.smem_used = (b.launch->smem + kGuard + 127) / 128 * 128;
}

void check_guard(Block &b) {
  if (!b.error.empty()) return;
  race::unpoison(b.smem, kArena);
  for (size_t i = 0; i < kGuard && b.error.empty(); ++i)
    if (b.smem[b.launch->smem + i] != kPoison)
      b.error = std::string(b.launch->name) + ": a store to dynamic shared memory at byte " +
                std::to_string(b.launch->smem + i) + ", the launch asked for " + std::to_string(b.launch->smem);
}

std::string refusal(const Launch &how) {
  const size_t threads = size_t{how.block.x} * how.block.y * how.block.z;
  if (!threads || threads > 1024)
    return std::string(how.name) + ": a block needs 1 to 1024 threads, came " + std::to_string(threads);
  if (how.smem > kMaxSmem)
    return std::string(how.name) + ": a block has at most " + std::to_string(kMaxSmem) +
           " bytes of shared memory, came " + std::to_string(how.smem);
  const dim3 &c = how.cluster;
  const uint64_t blocks = uint64_t{c.x} * c.y * c.z;
  if (!blocks || blocks > kMaxCluster || how.grid.x % c.x || how.grid.y % c.y || how.grid.z % c.z)
    return std::string(how.name) + ": a cluster has 1 to " + std::to_string(kMaxCluster) +
           " blocks and divides the grid, came " + std::to_string(c.x) + " x " + std::to_string(c.y) + " x " +
           std::to_string(c.z);
  return "";
}

}  // namespace

Options &options() {
  thread_local Options current;
  return current;
}

void *dynamic_smem(size_t bytes) {
  const Block &b = block();
  if (bytes > b.launch->smem)
    fail("the kernel uses %zu bytes of dynamic shared memory, the launch asked for %zu", bytes, b.launch->smem);
  return b.smem;
}

void *static_smem(const void *site, size_t bytes, size_t alignment) {
  race::Ignore ignore;
  Block &b = block();
  for (const auto &[known, at] : b.static_smem)
    if (known == site) return b.smem + at;
  const auto up = [&](size_t n) { return (n + alignment - 1) / alignment * alignment; };
  const size_t at = up(b.smem_used), end = at + bytes, of_all = up(b.static_bytes) + bytes;
  if (of_all + b.launch->smem > kMaxSmem || end > kArena)
    fail(
        "the kernel has %zu bytes of static shared memory, the launch asked for %zu of dynamic: a block has at most "
        "%zu",
        of_all, b.launch->smem, kMaxSmem);
  for (auto &peer : b.cluster->blocks)  // a variable has one place in all blocks
    peer->static_smem.emplace_back(site, at), peer->smem_used = end, peer->static_bytes = of_all;
  return b.smem + at;
}

uint32_t smem_address(const void *p) {
  const Block &b = block();
  const auto *byte = static_cast<const unsigned char *>(p);
  if (byte < b.smem || byte >= b.smem + b.smem_used) fail("%p is not in this block's shared memory", p);
  return uint32_t(byte - b.smem);
}

void check_smem(const void *p, size_t bytes, const char *what) {
  const uint32_t first = smem_address(p);
  const size_t dynamic = block().launch->smem, end = first < dynamic ? dynamic : block().smem_used;
  if (first + bytes > end || (first >= dynamic && first < dynamic + kGuard))
    fail("%s: %zu bytes from byte %u of shared memory, which has %zu", what, bytes, first, end);
}

// Cluster number `i` of the launch.
static void fill(Cluster &c, uint64_t i, const Block &pattern) {
  const dim3 &grid = pattern.grid_size, &size = pattern.cluster_size;
  const uint32_t across = grid.x / size.x, down = grid.y / size.y;
  const uint32_t x = uint32_t(i % across), y = uint32_t(i / across % down), z = uint32_t(i / across / down);
  const uint64_t count = uint64_t{size.x} * size.y * size.z;
  for (uint32_t rank = 0; rank < count; ++rank) {
    auto b = std::make_unique<Block>();
    b->launch = pattern.launch, b->body = pattern.body;
    b->counters = pattern.counters, b->traffic = pattern.traffic, b->dependency = pattern.dependency;
    b->block_size = pattern.block_size, b->grid_size = grid, b->cluster_size = size;
    b->cluster = &c, b->rank = rank;
    b->block = {x * size.x + rank % size.x, y * size.y + rank / size.x % size.y, z * size.z + rank / size.x / size.y};
    b->random = ((options().seed + 1) * 0x9e3779b97f4a7c15u ^ (i * count + rank + 1) * 0xd1b54a32d192ed03u) | 1;
    fill(*b);
    c.blocks.push_back(std::move(b));
  }
}

Report run(const Launch &how, const std::function<void()> &body) {
  race::Ignore ignore;
  Report report;
  report.error = refusal(how);
  LaunchTraffic traffic;
  traffic.counters = &report.counters;
  Block pattern;
  pattern.launch = &how, pattern.body = &body;
  pattern.counters = &report.counters, pattern.traffic = &traffic;
  pattern.block_size = how.block, pattern.grid_size = how.grid, pattern.cluster_size = how.cluster;
  const uint64_t in_cluster = uint64_t{how.cluster.x} * how.cluster.y * how.cluster.z;
  const uint64_t clusters = report ? uint64_t{how.grid.x} * how.grid.y * how.grid.z / in_cluster : 0;
  Dependency dependency;
  if (report && stream_is_open()) {
    dependency = start_in_stream(how.name, how.pdl);
    pattern.dependency = &dependency, traffic.touched = &dependency.touched;
  }
  for (uint64_t i = 0; i < clusters && report; ++i) {
    Cluster c;
    fill(c, i, pattern);
    run_cluster(c);
    for (auto &b : c.blocks) {
      check_guard(*b);
      dependency.let_only &= b->let_early;
      if (!b->error.empty() && report) report.error = b->error, report.place = b->place;
    }
  }
  if (report && pattern.dependency) report.error = end_in_stream(std::move(dependency));
  if (report.counters.bank_conflicts) report.conflicts_at = line_at(traffic.worst());
  remember(how, report);
  return report;
}

}  // namespace opswap::emu
