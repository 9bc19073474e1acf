// Matrix products of a warpgroup. A warp's quarter (16 rows) may run once its own lanes have issued it; waiting for a
// group waits for all four quarters. Accumulators hold NaN from the issue to the wait, when A's registers must still be
// as they were.
#include "emulator/async.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "emulator/convert.h"
#include "precision.h"
#include "race.h"
#include "unit.h"
#include "wgmma_rules.h"

namespace opswap::emu {

namespace {

constexpr int kRows = 16;  // of a warp's quarter
constexpr uint32_t kPoisoned = 0x7fc0dead;

struct Product : MatrixProduct {
  uint32_t arrived = 0;
  const void *asked = nullptr;  // where
  float *lanes[32]{};
  uint32_t lane_registers[32][4]{};
};

struct Quarter {  // of one warp
  std::deque<Product> products;
  size_t done = 0;   // of all that were ever issued
  size_t first = 0;  // number of products.front()
  Context context;
};

// Bytes of K that one product takes; an operand's elements are 2 or 1 bytes.
constexpr int kBytesOfK = 32;
int element_size(int type) { return type < 2 ? 2 : 1; }

float value_of(int type, const unsigned char *p) {
  uint16_t wide;
  std::memcpy(&wide, p, element_size(type));
  switch (type) {
    case 0:
      return bf16_to_float(wide);
    case 1:
      return fp16_to_float(wide);
    case 2:
      return e4m3_to_float(*p);
    default:
      return e5m2_to_float(*p);
  }
}

// Where an operand's elements lie, from its descriptor.
struct Operand {
  uint32_t start, leading, stride, width, swizzle;
  int size;
  bool mn_major;
  Operand(uint64_t descriptor, int type, int major)
      : start(uint32_t(descriptor & 0x3fff) << 4),
        leading(uint32_t(descriptor >> 16 & 0x3fff) << 4),
        stride(uint32_t(descriptor >> 32 & 0x3fff) << 4),
        size(element_size(type)),
        mn_major(major == 1) {
    const uint32_t mode = uint32_t(descriptor >> 62);
    swizzle = mode ? 4 - mode : 0;  // 1, 2, 3 are 128, 64, 32 bytes
    width = 16u << swizzle;
  }
  // byte of (row or column `mn`, element `k`) in shared memory
  uint32_t at(uint32_t mn, uint32_t k) const {
    uint32_t offset;
    if (!mn_major) {
      const uint32_t byte = k * size;
      offset = mn % 8 * width + mn / 8 * stride + (swizzle ? byte : byte / 16 * leading + byte % 16);
    } else {
      const uint32_t byte = mn * size, across = swizzle ? leading : stride, along = swizzle ? stride : leading;
      offset = byte % width + byte / width * across + k % 8 * width + k / 8 * along;
    }
    const uint32_t address = start + offset;
    return address ^ (address >> 3 & ((1u << swizzle) - 1) << 4);
  }
};

struct WgmmaUnit : AsyncUnit {
  std::vector<Quarter> quarters;
  std::vector<Issuer> issuers;
  Queue waiting;
  WgmmaUnit() : quarters((block().threads.size() + 31) / 32), issuers(block().threads.size()) {}

  bool ready(const Quarter &q) const { return !q.products.empty() && q.products.front().arrived == 0xffffffffu; }
  bool has_work() const override {
    for (const Quarter &q : quarters)
      if (ready(q)) return true;
    return false;
  }
  const char *unfinished() override {
    for (const Issuer &issuer : issuers)
      if (block().blamed = issuer.asked; !issuer.accumulators.empty())
        return "wgmma products that no thread waited for (missing wgmma_wait)";
    return nullptr;
  }
  void work() override {
    const size_t offset = block().draw() % quarters.size();
    for (size_t i = 0; i < quarters.size(); ++i) {
      const size_t warp = (i + offset) % quarters.size();
      if (!ready(quarters[warp])) continue;
      run(warp);
      wake(waiting);
      return;
    }
  }
  void run(size_t warp);
  void load(const Operand &operand, int type, uint32_t first, uint32_t count, float *out, bool k_first, uint32_t pitch);
};

WgmmaUnit &products() { return unit<WgmmaUnit>(kLateProducts); }

void WgmmaUnit::load(const Operand &operand, int type, uint32_t first, uint32_t count, float *out, bool k_first,
                     uint32_t pitch) {
  const Block &b = block();
  const uint32_t elements = kBytesOfK / operand.size;
  for (uint32_t mn = 0; mn < count; ++mn)
    for (uint32_t k = 0; k < elements; ++k) {
      const uint32_t at = operand.at(first + mn, k);
      if (at + operand.size > b.launch->smem)
        fail("wgmma: a descriptor names byte %u of dynamic shared memory, which has %zu", at, b.launch->smem);
      // K-major operands are contiguous in 16 bytes, one race check each
      if (operand.mn_major || k * operand.size % 16 == 0) race::read(b.smem + at, operand.mn_major ? operand.size : 16);
      out[k_first ? k * pitch + mn : mn * pitch + k] = value_of(type, b.smem + at);
    }
}

void registers_to_rows(const Product &p, float *a) {
  const int size = element_size(p.type_a), per_register = 4 / size;
  for (int lane = 0; lane < 32; ++lane)
    for (int r = 0; r < 4; ++r)
      for (int e = 0; e < per_register; ++e) {
        const int row = lane / 4 + r % 2 * 8, k = lane % 4 * per_register + r / 2 * (16 / size) + e;
        unsigned char bytes[4];
        std::memcpy(bytes, &p.lane_registers[lane][r], 4);
        a[row * kBytesOfK + k] = value_of(p.type_a, bytes + e * size);
      }
}

// A row or column of zeros is padding: what TMA and cp.async fill in.
void count_useful(const Product &p, const float *a, const float *b, bool with_columns) {
  Counters &c = *block().counters;
  const int elements = kBytesOfK / element_size(p.type_a);
  c.wgmma_rows += kRows;
  for (int row = 0; row < kRows; ++row)
    c.wgmma_useful_rows +=
        std::any_of(&a[row * kBytesOfK], &a[row * kBytesOfK + elements], [](float x) { return x != 0; });
  if (!with_columns) return;
  c.wgmma_columns += uint64_t(p.n);
  for (int n = 0; n < p.n; ++n) {
    bool used = false;
    for (int k = 0; k < elements; ++k) used |= b[k * 256 + n] != 0;
    c.wgmma_useful_columns += used;
  }
}

float sum_of_products(float so_far, const float *row, const float *column) {
  float products[kBytesOfK];
  for (int k = 0; k < kBytesOfK; ++k) products[k] = row[k] * column[k * 256];
  return add_as_hopper(so_far, products, kBytesOfK);
}

void WgmmaUnit::run(size_t warp) {
  Quarter &q = quarters[warp];
  const Product &p = q.products.front();
  block().blamed = p.asked;
  alignas(16) thread_local float a[kRows * kBytesOfK], b[kBytesOfK * 256];
  q.context.enter();
  race::acquire(&q);
  {
    const race::Asked asked(p.asked);
    if (p.a_in_registers)
      registers_to_rows(p, a);
    else
      load(Operand(p.a, p.type_a, p.major_a), p.type_a, uint32_t(warp % 4 * kRows), kRows, a, false, kBytesOfK);
    load(Operand(p.b, p.type_b, p.major_b), p.type_b, 0, uint32_t(p.n), b, true, 256);
  }
  race::release(proxy_of(&q));
  race::enter(block().context);
  count_useful(p, a, b, warp % 4 == 0);
  const int elements = kBytesOfK / element_size(p.type_a);
  const bool hopper = options().hopper_fp8 && elements == kBytesOfK;
  for (int row = 0; row < kRows; ++row) {
    alignas(16) float sum[256];
    multiply_row(sum, &a[row * kBytesOfK], b, elements, p.n);
    for (int n = 0; n < p.n; ++n) {
      const int lane = row % 8 * 4 + n % 8 / 2, index = n / 8 * 4 + row / 8 * 2 + n % 2;
      for (Accumulator &acc : issuers[warp * 32 + size_t(lane)].accumulators) {
        if (acc.d != p.lanes[lane]) continue;
        float &value = acc.values[size_t(index)];
        const float so_far = p.accumulate ? value : 0;
        value = hopper ? sum_of_products(so_far, &a[row * kBytesOfK], &b[n]) : so_far + sum[n];
      }
    }
  }
  q.products.pop_front();
  ++q.first, ++q.done;
}

void check_same(const Product &first, const MatrixProduct &p) {
  if (first.n != p.n || first.b != p.b || first.accumulate != p.accumulate ||
      first.a_in_registers != p.a_in_registers || (!p.a_in_registers && first.a != p.a))
    fail("wgmma: threads of one warpgroup give different descriptors or shapes");
}

}  // namespace

void wgmma(const MatrixProduct &p) {
  race::Ignore ignore;
  WgmmaUnit &unit = products();
  if (block().threads.size() % 128)
    fail("wgmma: needs whole warpgroups of 128 threads, the block has %zu", block().threads.size());
  Issuer &issuer = unit.issuers[self().linear];
  Quarter &q = unit.quarters[self().warp];
  const size_t number = issuer.issued++;
  check_fenced(issuer, p);
  if (!p.a_in_registers) check_pattern(p.a, "A");
  check_pattern(p.b, "B");
  for (uint32_t w = self().warp / 4 * 4; w < self().warp / 4 * 4 + 4; ++w) {
    const Quarter &other = unit.quarters[w];
    if (number >= other.first && number - other.first < other.products.size())
      check_same(other.products[number - other.first], p);
  }
  if (number - q.first == q.products.size()) static_cast<MatrixProduct &>(q.products.emplace_back()) = p;
  Product &product = q.products[number - q.first];
  product.arrived |= 1u << self().lane;
  product.asked = issuer.asked = __builtin_return_address(0);
  product.lanes[self().lane] = p.d;
  if (p.a_in_registers) {
    ARegisters &held = issuer.held.emplace_back(p.registers, std::array<uint32_t, 4>{}, number, issuer.asked);
    std::memcpy(held.was.data(), p.registers, sizeof held.was);
    std::memcpy(product.lane_registers[self().lane], p.registers, sizeof held.was);
  }
  if (product.arrived == 0xffffffffu && self().warp % 4 == 0) ++block().counters->wgmmas;
  race::enter(self().proxy);  // products see what the asynchronous proxy sees
  race::release(&q);
  race::enter(self().context);
  for (Accumulator &acc : issuer.accumulators)
    if (acc.d == p.d) {
      acc.last = number;
      return;
    }
  issuer.accumulators.push_back({p.d, std::vector<float>(p.d, p.d + p.n / 2), number});
  for (int i = 0; i < p.n / 2; ++i) std::memcpy(&p.d[i], &kPoisoned, 4);
}

void wgmma_fence() { products().issuers[self().linear].fenced = true; }

void wgmma_commit() {
  Issuer &issuer = products().issuers[self().linear];
  issuer.groups.push_back(issuer.issued);
  issuer.fenced = false;
}

void wgmma_wait(int pending) {
  race::Ignore ignore;
  WgmmaUnit &unit = products();
  Issuer &issuer = unit.issuers[self().linear];
  if (issuer.groups.size() <= size_t(pending)) return;
  const size_t upto = issuer.groups[issuer.groups.size() - 1 - size_t(pending)];
  const uint32_t first = self().warp / 4 * 4;
  auto done = [&] {
    for (uint32_t w = first; w < first + 4; ++w)
      if (unit.quarters[w].done < upto) return false;
    return true;
  };
  while (!done()) park(unit.waiting, {"wgmma.wait_group", nullptr, uint32_t(pending)});
  for (uint32_t w = first; w < first + 4; ++w) acquire(proxy_of(&unit.quarters[w]));
  issuer.fenced = false;
  std::erase_if(issuer.held, [&](const ARegisters &a) {
    if (a.product < upto) check_registers(a);
    return a.product < upto;
  });
  std::erase_if(issuer.accumulators, [&](Accumulator &acc) {
    if (acc.last >= upto) return false;
    for (size_t i = 0; i < acc.values.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, &acc.d[i], 4);
      if (bits != kPoisoned) fail("wgmma: an accumulator was written between the product and wgmma_wait()");
      acc.d[i] = acc.values[i];
    }
    return true;
  });
}

}  // namespace opswap::emu
