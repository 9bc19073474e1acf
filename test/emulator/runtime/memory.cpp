// Shared memory of a block, and the launch that owns it.
#include <cstdlib>
#include <stdexcept>

#include "block.h"

namespace opswap::emu {
namespace {

constexpr size_t kGuard = 1024;  // behind the dynamic part; a store there is found when the block ends
constexpr size_t kArena = kMaxSmem + 2 * kGuard;

struct Arena {  // never freed: fibers that a report left in mid-kernel would race with that, to ThreadSanitizer
  unsigned char *bytes = static_cast<unsigned char *>(std::aligned_alloc(1024, (kArena + 1023) / 1024 * 1024));
};
thread_local Arena arena;

void fill(Block &b) {
  race::unpoison(arena.bytes, kArena);
  std::memset(arena.bytes, kPoison, kArena);
  race::poison(arena.bytes + b.launch->smem, kGuard);
  b.smem = arena.bytes;
  b.smem_used = (b.launch->smem + kGuard + 127) / 128 * 128;
}

void check_guard(Block &b) {
  if (!b.error.empty()) return;
  race::unpoison(arena.bytes, kArena);
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
  auto [at, added] = b.static_smem.try_emplace(site, 0);
  if (added) {
    at->second = (b.smem_used + alignment - 1) / alignment * alignment;
    b.smem_used = at->second + bytes;
    if (b.smem_used > kArena)
      fail("static and dynamic shared memory need %zu bytes, a block has %zu", b.smem_used - kGuard, kMaxSmem);
  }
  return b.smem + at->second;
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

Report run(const Launch &how, const std::function<void()> &body) {
  race::Ignore ignore;
  Report report;
  report.error = refusal(how);
  LaunchTraffic traffic;
  traffic.counters = &report.counters;
  const uint64_t blocks = uint64_t{how.grid.x} * how.grid.y * how.grid.z;
  for (uint64_t i = 0; i < blocks && report; ++i) {
    Block b;
    b.launch = &how;
    b.body = &body;
    b.counters = &report.counters;
    b.traffic = &traffic;
    b.block = {uint32_t(i % how.grid.x), uint32_t(i / how.grid.x % how.grid.y), uint32_t(i / how.grid.x / how.grid.y)};
    b.block_size = how.block;
    b.grid_size = how.grid;
    b.random = ((options().seed + 1) * 0x9e3779b97f4a7c15u ^ (i + 1) * 0xd1b54a32d192ed03u) | 1;
    fill(b);
    run_block(b);
    check_guard(b);
    report.error = b.error;
    report.place = b.place;
  }
  if (report.counters.bank_conflicts) report.conflicts_at = line_at(traffic.worst());
  remember(how, report);
  return report;
}

}  // namespace opswap::emu
