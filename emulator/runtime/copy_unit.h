// The copy unit: bulk and tensor copies and cp.async, each at a time of its own. A store reads shared memory first and
// writes global memory later.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "unit.h"

namespace opswap::emu {

struct Copy {
  Thread *thread = nullptr;
  const void *asked = nullptr;  // where
  uint64_t group = 0;
  bool is_cp_async = false, read_done = false;
  std::vector<const Block *> into;    // whose shared memory it fills; a store fills none
  std::function<void()> read, write;  // what reads shared memory does that first
};

struct Groups {
  uint64_t open = 1;  // number of the group that copies join
};

struct CopyUnit : AsyncUnit {
  std::vector<std::unique_ptr<Copy>> copies;
  std::map<Thread *, Groups> bulk, small;
  Queue waiting;
  Context context;

  bool has_work() const override { return !copies.empty(); }
  const char *unfinished() override;
  void work() override;
  void add(std::unique_ptr<Copy> copy, std::map<Thread *, Groups> &groups);  // by the running thread
  bool pending(bool is_cp_async, uint64_t last, bool read_only) const;
  void wait(std::map<Thread *, Groups> &groups, bool is_cp_async, int left, bool read_only, const char *what);
};

CopyUnit &copies();  // of the running block

void move(void *to, const void *from, size_t bytes);

// The blocks that a load goes to, each with what is added to an address of the issuing block's shared memory.
struct Target {
  Block *block;
  ptrdiff_t distance;
  template <class T>
  T *operator()(T *own) const {
    return reinterpret_cast<T *>(reinterpret_cast<char *>(own) + distance);
  }
};

std::vector<Target> targets_of(uint32_t blocks, uint64_t *barrier, const char *what);
std::vector<const Block *> blocks_of(const std::vector<Target> &targets);
void must_live(const Block &to);
void check_destination(const void *smem, size_t bytes, size_t alignment, const char *what);
// What a unit will touch is allocated, and not a kernel's in front, when it is asked for.
void check_global(const void *global, uint32_t bytes, Access kind, const char *what);
void complete(const Target &to, uint64_t *of_issuer, uint32_t bytes);

}  // namespace opswap::emu
