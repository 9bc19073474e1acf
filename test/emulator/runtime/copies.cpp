// The copy unit: bulk and tensor copies and cp.async, each at a time of its own. A store reads shared memory first and
// writes global memory later.
#include <cstring>
#include <map>

#include "emulator/convert.h"
#include "mbarrier.h"
#include "race.h"
#include "tensor_map.h"
#include "unit.h"

namespace opswap::emu {

namespace {

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
  const char *unfinished() override {
    for (const auto &copy : copies) {
      block().blamed = copy->asked;
      for (const Block *to : copy->into)
        if (!to->live) return "a load into its shared memory still on its way";
      if (copy->read && !copy->read_done) return "a store still reading its shared memory (missing tma_wait_read)";
    }
    std::erase_if(copies, [](const auto &copy) {
      if (copy->into.empty()) copy->write();
      return copy->into.empty();
    });
    return nullptr;
  }
  void work() override {
    const size_t i = block().draw() % copies.size();
    Copy &copy = *copies[i];
    block().blamed = copy.asked;
    context.enter();
    race::acquire(proxy_of(&copy));
    const bool reads = copy.read && !copy.read_done;
    if (!reads && !copy.into.empty()) race::acquire(&copy);
    if (const race::Asked asked(copy.asked); reads)
      copy.read();
    else
      copy.write();
    copy.read_done = true;
    if (!reads) copies.erase(copies.begin() + long(i));
    race::release(this);
    race::enter(block().context);
    wake(waiting);
  }
  void add(std::unique_ptr<Copy> copy, std::map<Thread *, Groups> &groups) {
    copy->thread = &self(), copy->group = groups[&self()].open;
    ++block().counters->copies;
    release(copy.get());  // a load overwrites what threads have read: it comes after that also without a proxy fence
    copies.push_back(std::move(copy));
  }
  bool pending(bool is_cp_async, uint64_t last, bool read_only) const {
    for (const auto &copy : copies)
      if (copy->thread == &self() && copy->is_cp_async == is_cp_async && copy->group <= last &&
          (is_cp_async || copy->into.empty()) && !(read_only && copy->read_done))
        return true;
    return false;
  }
  void wait(std::map<Thread *, Groups> &groups, bool is_cp_async, int left, bool read_only, const char *what) {
    const uint64_t open = groups[&self()].open;
    if (open <= uint64_t(left)) return;
    while (pending(is_cp_async, open - 1 - uint64_t(left), read_only)) park(waiting, {what, nullptr, uint32_t(left)});
    race::acquire(this);
  }
};

CopyUnit &copies() { return unit<CopyUnit>(kLateCopies); }

void move(void *to, const void *from, size_t bytes) {
  race::read(from, bytes);
  race::write(to, bytes);
  std::memcpy(to, from, bytes);
}

// The blocks that a load goes to, each with what is added to an address of the issuing block's shared memory.
struct Target {
  Block *block;
  ptrdiff_t distance;
  template <class T>
  T *operator()(T *own) const {
    return reinterpret_cast<T *>(reinterpret_cast<char *>(own) + distance);
  }
};

std::vector<Target> targets_of(uint32_t blocks, uint64_t *barrier, const char *what) {
  std::vector<Target> targets;
  if (!blocks) fail("%s: multicast to no block", what);
  for (uint32_t rank = 0; rank < 32; ++rank) {
    if (!(blocks >> rank & 1)) continue;
    Block &to = peer(rank, what);
    targets.push_back({&to, to.smem - block().smem});
    const OnPeer at(to);
    mbarrier_check(targets.back()(barrier));
  }
  return targets;
}

std::vector<const Block *> blocks_of(const std::vector<Target> &targets) {
  std::vector<const Block *> blocks;
  for (const Target &target : targets) blocks.push_back(target.block);
  return blocks;
}

void must_live(const Block &to) {
  if (!to.live) fail("a load into shared memory of block %u of the cluster, which has ended", to.rank);
}

// Chunks of a box that follow each other in memory are one run.
struct RowTraffic {
  uint64_t begin = 0, end = 0;
  Access kind{};
  void add(const Chunk &chunk, Access what) {
    const uint64_t from = reinterpret_cast<uint64_t>(chunk.global) + chunk.from, to = from + chunk.to - chunk.from;
    if (from != end) flush(), begin = from;
    end = to, kind = what;
  }
  void flush() {
    if (end > begin) block().traffic->global(begin, end - begin, kind);
    begin = end = 0;
  }
};

// What a unit will touch is touched, to the kernels in front, from when it is asked for.
void check_in_front(const BoxWalk &box, Access kind) {
  if (!self().early) return;
  box.each([&](const Chunk &chunk) {
    if (chunk.to > chunk.from) emu::check_in_front(chunk.global + chunk.from, chunk.to - chunk.from, kind);
  });
}

void check_destination(const void *smem, size_t bytes, size_t alignment, const char *what) {
  check_smem(smem, bytes, what);
  if (smem_address(smem) % alignment)
    fail("%s: byte %u of shared memory is not a multiple of %zu", what, smem_address(smem), alignment);
}

void complete(const Target &to, uint64_t *of_issuer, uint32_t bytes) {
  uint64_t *barrier = to(of_issuer);
  const OnPeer at(*to.block);
  race::release(barrier);
  race::release(proxy_of(barrier));
  mbarrier_complete(barrier, bytes);
}

template <class T, class To, class From>
void combine_as(int op, char *to, const char *from, To to_float, From from_float) {
  T a, b;
  std::memcpy(&a, to, sizeof a), std::memcpy(&b, from, sizeof b);
  const auto x = to_float(a), y = to_float(b);
  const T result = from_float(op == 0 ? x + y : op == 1 ? std::min(x, y) : std::max(x, y));
  std::memcpy(to, &result, sizeof result);
}

void combine(int op, int type, char *to, const char *from, uint32_t bytes) {
  auto same = [](auto x) { return x; };
  for (uint32_t i = 0; i < bytes; i += type == 4 || type == 6 ? 2 : 4) {
    if (type == 2)
      combine_as<uint32_t>(op, to + i, from + i, same, same);
    else if (type == 3)
      combine_as<int32_t>(op, to + i, from + i, same, same);
    else if (type == 5)
      combine_as<float>(op, to + i, from + i, same, same);
    else if (type == 4)
      combine_as<uint16_t>(op, to + i, from + i, fp16_to_float, float_to_fp16);
    else if (type == 6)
      combine_as<uint16_t>(op, to + i, from + i, bf16_to_float, float_to_bf16);
    else
      fail("cp.reduce.async.bulk: no reduction of this element type");
  }
}

}  // namespace

static std::vector<void *> &spare_contexts() {
  thread_local std::vector<void *> spare;
  return spare;
}
Context::Context() : context_(nullptr) {
  auto &spare = spare_contexts();
  context_ = spare.empty() ? race::create() : spare.back();
  if (!spare.empty()) spare.pop_back();
}
Context::~Context() {
  void *here = race::current();  // the unit's block has ended: whoever goes on comes after the unit
  enter();
  race::release(this);
  race::enter(here);
  race::acquire(this);
  spare_contexts().push_back(context_);
}

static void tensor_load(void *smem, const TensorMap *map, uint64_t *barrier, const int *at, size_t rank,
                        uint32_t blocks, const void *asked) {
  BoxWalk box(map, at, rank);
  check_destination(smem, box.bytes(), 128, "TMA load");
  check_in_front(box, Access::kLoad);
  const auto targets = targets_of(blocks, barrier, "TMA load");
  auto copy = std::make_unique<Copy>();
  copy->asked = asked;
  char *base = static_cast<char *>(smem) - smem_address(smem);
  block().counters->copied_bytes += box.bytes();
  copy->into = blocks_of(targets);
  copy->write = [=, first = smem_address(smem)] {
    RowTraffic traffic;
    for (const Target &target : targets) must_live(*target.block);
    box.each([&](const Chunk &chunk) {
      if (chunk.to > chunk.from) traffic.add(chunk, Access::kLoad);
      for (const Target &target : targets) {
        char *to = target(base + box.swizzled(first + chunk.smem));
        race::write(to, 16);
        std::memset(to, 0, 16);
        if (chunk.to > chunk.from) move(to + chunk.from, chunk.global + chunk.from, chunk.to - chunk.from);
      }
    });
    traffic.flush();
    for (const Target &target : targets) complete(target, barrier, box.bytes());
  };
  copies().add(std::move(copy), copies().bulk);
}

void tma_load(void *smem, const TensorMap *map, uint64_t *barrier, const int *at, size_t rank) {
  race::Ignore ignore;
  tensor_load(smem, map, barrier, at, rank, 1u << block().rank, __builtin_return_address(0));
}
void tma_load_multicast(void *smem, const TensorMap *map, uint64_t *barrier, const int *at, size_t rank,
                        uint32_t blocks) {
  race::Ignore ignore;
  tensor_load(smem, map, barrier, at, rank, blocks, __builtin_return_address(0));
}

void tma_store(const TensorMap *map, const void *smem, const int *at, size_t rank, int reduce) {
  race::Ignore ignore;
  BoxWalk box(map, at, rank);
  check_destination(smem, box.bytes(), 128, "TMA store");
  check_in_front(box, Access::kStore);
  if (reduce > 0 && box.type() == 5) fail("cp.reduce.async.bulk: of f32 there is only a sum");
  auto copy = std::make_unique<Copy>();
  copy->asked = __builtin_return_address(0);
  auto data = std::make_shared<std::vector<char>>(box.bytes());
  const char *base = static_cast<const char *>(smem) - smem_address(smem);
  block().counters->copied_bytes += box.bytes();
  copy->read = [=, first = smem_address(smem)] {
    for (uint32_t i = 0; i < data->size(); i += 16) {
      const char *from = base + box.swizzled(first + i);
      race::read(from, 16);
      std::memcpy(data->data() + i, from, 16);
    }
  };
  copy->write = [=] {
    RowTraffic traffic;
    box.each([&](const Chunk &chunk) {
      if (chunk.to <= chunk.from) return;
      traffic.add(chunk, Access::kStore);
      char *to = chunk.global + chunk.from;
      const char *from = data->data() + chunk.smem + chunk.from;
      if (reduce < 0)
        race::write(to, chunk.to - chunk.from), std::memcpy(to, from, chunk.to - chunk.from);
      else
        combine(reduce, box.type(), to, from, chunk.to - chunk.from);
    });
    traffic.flush();
  };
  copies().add(std::move(copy), copies().bulk);
}

// Under AddressSanitizer also what a unit will touch later is checked where it is asked for.
static void check_allocated(const void *global, uint32_t bytes, const char *what) {
  if (bytes && race::poisoned(global, bytes)) fail("%s: %u bytes at %p are not all allocated", what, bytes, global);
}

static void check_bulk(const void *global, uint32_t bytes, Access kind, const char *what) {
  if (bytes % 16 || !bytes || reinterpret_cast<uintptr_t>(global) % 16)
    fail("%s: %u bytes at %p, both must be multiples of 16", what, bytes, global);
  check_allocated(global, bytes, what);
  if (self().early) emu::check_in_front(global, bytes, kind);
  block().counters->copied_bytes += bytes;
}

static void linear_load(void *smem, const void *global, uint32_t bytes, uint64_t *barrier, uint32_t blocks,
                        const void *asked) {
  check_bulk(global, bytes, Access::kLoad, "cp.async.bulk load");
  check_destination(smem, bytes, 16, "cp.async.bulk load");
  const auto targets = targets_of(blocks, barrier, "cp.async.bulk load");
  auto copy = std::make_unique<Copy>();
  copy->asked = asked;
  copy->into = blocks_of(targets);
  copy->write = [=] {
    block().traffic->global(reinterpret_cast<uint64_t>(global), bytes, Access::kLoad);
    for (const Target &target : targets) {
      must_live(*target.block);
      move(target(smem), global, bytes);
      complete(target, barrier, bytes);
    }
  };
  copies().add(std::move(copy), copies().bulk);
}

void bulk_load(void *smem, const void *global, uint32_t bytes, uint64_t *barrier) {
  race::Ignore ignore;
  linear_load(smem, global, bytes, barrier, 1u << block().rank, __builtin_return_address(0));
}
void bulk_load_multicast(void *smem, const void *global, uint32_t bytes, uint64_t *barrier, uint32_t blocks) {
  race::Ignore ignore;
  linear_load(smem, global, bytes, barrier, blocks, __builtin_return_address(0));
}

void cluster_copy(void *to, const void *smem, uint32_t bytes, uint64_t *barrier, uint32_t rank) {
  race::Ignore ignore;
  constexpr const char *kWhat = "cp.async.bulk.shared::cluster.shared::cta";
  if (bytes % 16 || !bytes) fail("%s: %u bytes, needs a multiple of 16", kWhat, bytes);
  check_destination(smem, bytes, 16, kWhat);
  Block &there = peer(rank, kWhat);
  {
    const OnPeer at(there);
    check_destination(to, bytes, 16, kWhat);
    mbarrier_check(barrier);
  }
  auto copy = std::make_unique<Copy>();
  copy->asked = __builtin_return_address(0);
  block().counters->copied_bytes += bytes;
  block().counters->peer_store_bytes += bytes;
  copy->into = {&there};
  auto data = std::make_shared<std::vector<char>>(bytes);
  copy->read = [=] { race::read(smem, bytes), std::memcpy(data->data(), smem, bytes); };
  copy->write = [=, &there] {
    must_live(there);
    race::write(to, bytes);
    std::memcpy(to, data->data(), bytes);
    complete({&there, 0}, barrier, bytes);
  };
  copies().add(std::move(copy), copies().bulk);
}

void bulk_store(void *global, const void *smem, uint32_t bytes) {
  race::Ignore ignore;
  check_bulk(global, bytes, Access::kStore, "cp.async.bulk store");
  check_destination(smem, bytes, 16, "cp.async.bulk store");
  auto copy = std::make_unique<Copy>();
  copy->asked = __builtin_return_address(0);
  auto data = std::make_shared<std::vector<char>>(bytes);
  copy->read = [=] { race::read(smem, bytes), std::memcpy(data->data(), smem, bytes); };
  copy->write = [=] {
    block().traffic->global(reinterpret_cast<uint64_t>(global), bytes, Access::kStore);
    race::write(global, bytes), std::memcpy(global, data->data(), bytes);
  };
  copies().add(std::move(copy), copies().bulk);
}

void bulk_commit() { ++copies().bulk[&self()].open; }
void bulk_wait(int pending, bool read_only) {
  race::Ignore ignore;
  copies().wait(copies().bulk, false, pending, read_only, "cp.async.bulk.wait_group");
}

void cp_async(void *smem, const void *global, uint32_t bytes, uint32_t valid) {
  race::Ignore ignore;
  check_destination(smem, bytes, bytes, "cp.async");
  if (reinterpret_cast<uintptr_t>(global) % bytes) fail("cp.async: %p is not a multiple of %u", global, bytes);
  if (valid > bytes) fail("cp.async: %u valid bytes of %u", valid, bytes);
  check_allocated(global, valid, "cp.async");
  if (valid && self().early) emu::check_in_front(global, valid, Access::kLoad);
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

void fence_async_proxy() {
  race::release(&self());
  race::enter(self().proxy);
  race::acquire(&self());
  race::enter(self().context);
}

}  // namespace opswap::emu
