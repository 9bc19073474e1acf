// Copies that a thread asks for, of 4 to 16 bytes.
#include <cstring>

#include "copy_unit.h"
#include "mbarrier.h"

namespace opswap::emu {

void cp_async(void *smem, const void *global, uint32_t bytes, uint32_t valid) {
  race::Ignore ignore;
  check_destination(smem, bytes, bytes, "cp.async");
  if (reinterpret_cast<uintptr_t>(global) % bytes) fail("cp.async: %p is not a multiple of %u", global, bytes);
  if (valid > bytes) fail("cp.async: %u valid bytes of %u", valid, bytes);
  check_global(global, valid, Access::kLoad, "cp.async");
  auto copy = std::make_unique<Copy>();
  copy->asked = __builtin_return_address(0);
  copy->is_cp_async = true;
  copy->into = {&block()};
  block().counters->copied_bytes += valid;
  note_access(__builtin_return_address(0), smem, bytes, Access::kStore);
  if (valid) note_access(__builtin_return_address(0), global, valid, Access::kLoad);
  copy->write = [=] {
    race::write(smem, bytes);
    std::memset(smem, 0, bytes);
    if (valid) move(smem, global, valid);
  };
  copies().add(std::move(copy), copies().small);
}
void cp_async_commit() { ++copies().small[&self()].open; }
void cp_async_wait(int pending) {
  race::Ignore ignore;
  copies().wait(copies().small, true, pending, false, "cp.async.wait_group");
}

void cp_async_arrive(uint64_t *barrier) {
  race::Ignore ignore;
  CopyUnit &unit = copies();
  auto remaining = std::make_shared<size_t>(0);
  for (auto &copy : unit.copies) {
    if (copy->thread != &self() || !copy->is_cp_async) continue;
    ++*remaining;
    copy->write = [=, before = std::move(copy->write)] {
      before();
      race::release(barrier);
      if (!--*remaining) mbarrier_arrive_async(barrier);
    };
  }
  if (!*remaining) mbarrier_arrive(barrier, 1, 0);
}

}  // namespace opswap::emu
