// Copies of boxes by tensor maps.
#include <cstring>

#include "copy_unit.h"
#include "emulator/convert.h"
#include "tensor_map.h"

namespace opswap::emu {

namespace {

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

void check_in_front(const BoxWalk &box, Access kind) {
  if (!self().early) return;
  box.each([&](const Chunk &chunk) {
    if (chunk.to > chunk.from) emu::check_in_front(chunk.global + chunk.from, chunk.to - chunk.from, kind);
  });
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

static void tensor_load(void *smem, const TensorMap *map, uint64_t *barrier, const int *at, size_t rank,
                        uint32_t blocks, const void *asked) {
  BoxWalk box(map, at, rank);
  check_destination(smem, box.bytes(), 128, "TMA load");
  check_in_front(box, Access::kLoad);
  const auto targets = targets_of(blocks, barrier, "TMA load");
  auto copy = std::make_unique<Copy>();
  copy->asked = asked;
  char *base = static_cast<char *>(smem) - smem_address(smem);
  block().counters->copied_bytes += box.bytes(), block().counters->boxed_bytes += box.bytes();
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
  block().counters->copied_bytes += box.bytes(), block().counters->boxed_bytes += box.bytes();
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

void tma_prefetch(const TensorMap *map, const int *at, size_t rank) {
  race::Ignore ignore;
  const BoxWalk checked(map, at, rank);
}

}  // namespace opswap::emu
