// Tensor maps: what the driver accepts, and where an element of a box lies.
#include "tensor_map.h"

#include "block.h"

namespace opswap::emu {

namespace {
constexpr uint32_t kMark = 0x70616d54;
constexpr uint8_t kElement[] = {1, 2, 4, 4, 2, 4, 2};
}  // namespace

const char *encode(TensorMap &map, const MapRequest &r) {
  if (r.rank < 1 || r.rank > 5) return "a tensor map has 1 to 5 dimensions";
  if (reinterpret_cast<uintptr_t>(r.address) % 16) return "the tensor's address is not a multiple of 16";
  map = TensorMap{};
  map.element = kElement[r.type];
  for (int i = 0; i < r.rank; ++i) {
    if (!r.shape[i] || r.shape[i] > UINT32_MAX) return "an extent is not between 1 and 2^32 - 1";
    if (!r.box[i] || r.box[i] > 256) return "a box has 1 to 256 elements in each dimension";
    map.shape[i] = uint32_t(r.shape[i]), map.box[i] = uint16_t(r.box[i]);
    if (i && (r.stride[i - 1] % 16 || r.stride[i - 1] >= uint64_t(1) << 40))
      return "a stride is not a multiple of 16 bytes below 2^40";
    if (i) map.stride[i - 1] = r.stride[i - 1];
  }
  const uint32_t inner = r.box[0] * map.element;
  if (inner % 16) return "the inner box is not a multiple of 16 bytes";
  if (r.swizzle && inner > 16u << r.swizzle) return "the inner box is wider than the swizzle";
  map.mark = kMark, map.type = uint8_t(r.type), map.rank = uint8_t(r.rank), map.swizzle = uint8_t(r.swizzle);
  map.promotion = uint8_t(r.promotion);
  map.address = reinterpret_cast<uint64_t>(r.address);
  return nullptr;
}

namespace {

TensorMap &to_edit(TensorMap *map) {
  constexpr const char *kWhat = "tensormap.replace";
  check_smem(map, sizeof *map, kWhat);
  if (smem_address(map) % 128) fail("%s: byte %u of shared memory is not a multiple of 128", kWhat, smem_address(map));
  if (map->mark != kMark) fail("%s: the 128 bytes are not a tensor map made by encode()", kWhat);
  return *map;
}

void must_have(const TensorMap &map, int dim) {
  if (dim >= map.rank) fail("tensormap.replace: dimension %d of a tensor map of %d", dim, map.rank);
}

}  // namespace

void edit_address(TensorMap *map, const void *address) {
  race::write(map, sizeof *map);
  race::Ignore ignore;
  if (reinterpret_cast<uintptr_t>(address) % 16) fail("tensormap.replace: %p is not a multiple of 16", address);
  to_edit(map).address = reinterpret_cast<uint64_t>(address);
}

void edit_extent(TensorMap *map, int dim, uint32_t extent) {
  race::write(map, sizeof *map);
  race::Ignore ignore;
  must_have(to_edit(map), dim);
  if (!extent) fail("tensormap.replace: dimension %d gets an extent of 0", dim);
  map->shape[dim] = extent;
}

void edit_stride(TensorMap *map, int dim, uint64_t bytes) {
  race::write(map, sizeof *map);
  race::Ignore ignore;
  must_have(to_edit(map), dim);
  if (bytes % 16 || bytes >= uint64_t(1) << 40)
    fail("tensormap.replace: a stride of %llu is not a multiple of 16 bytes below 2^40",
         static_cast<unsigned long long>(bytes));
  map->stride[dim - 1] = bytes;
}

void publish_map(TensorMap *global, const TensorMap *map) {
  {
    race::Ignore ignore;
    check_smem(map, sizeof *map, "tensormap.cp_fenceproxy");
    if (reinterpret_cast<uintptr_t>(global) % 128) fail("tensormap.cp_fenceproxy: %p is not a multiple of 128", global);
    collective(0xffffffffu, Collective::kPublish, reinterpret_cast<uint64_t>(global));
  }
  if (self().lane) return;
  race::read(map, sizeof *map);
  race::write(global, sizeof *global);
  *global = *map;
}

void acquire_map(const TensorMap *) { fence_async_proxy(); }

BoxWalk::BoxWalk(const TensorMap *map, const int *at, size_t rank) : map_(*map), at_(at, at + rank) {
  if (reinterpret_cast<uintptr_t>(map) % 64) fail("TMA: the tensor map is not aligned to 64 bytes");
  if (!on_own_stack(map)) {  // the copy unit reads it, not the thread
    race::enter(self().proxy);
    race::read(map, sizeof *map);
    race::enter(self().context);
  }
  if (map_.mark != kMark) fail("TMA: the 128 bytes are not a tensor map made by encode()");
  if (map_.rank != rank) fail("TMA: %zu coordinates for a tensor map of %d dimensions", rank, map_.rank);
}

uint32_t BoxWalk::bytes() const {
  uint32_t total = map_.element;
  for (size_t i = 0; i < at_.size(); ++i) total *= map_.box[i];
  return total;
}

// Chunks of 16 bytes in the order in which they lie in shared memory, before the swizzle.
void BoxWalk::each(const std::function<void(const Chunk &)> &visit) const {
  const uint32_t row = map_.box[0] * map_.element, rows = bytes() / row;
  for (uint32_t r = 0; r < rows; ++r) {
    bool inside = true;
    int64_t offset = 0;
    uint32_t left = r;
    for (size_t i = 1; i < at_.size(); ++i) {
      const int64_t index = int64_t(at_[i]) + left % map_.box[i];
      left /= map_.box[i];
      inside &= index >= 0 && index < map_.shape[i];
      offset += index * int64_t(map_.stride[i - 1]);
    }
    for (uint32_t c = 0; c < row; c += 16) {
      const int64_t first = int64_t(at_[0]) * map_.element + c, end = int64_t(map_.shape[0]) * map_.element;
      const int64_t from = std::max<int64_t>(0, -first), to = std::min<int64_t>(16, end - first);
      visit({r * row + c, reinterpret_cast<char *>(map_.address + uint64_t(offset + first)),
             uint32_t(inside ? from : 0), uint32_t(inside ? std::max(from, to) : 0)});
    }
  }
}

uint32_t BoxWalk::swizzled(uint32_t address) const {
  return address ^ (address >> 3 & ((1u << map_.swizzle) - 1) << 4);
}

}  // namespace opswap::emu
