// The order of threads: each that can run comes once, and other bits give another order.
#include "runtime/ready.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "check.h"

namespace {

std::vector<uint32_t> order_of(uint64_t random) {
  opswap::emu::Ready ready;
  ready.resize(3);
  ready.add(0, 0xffffffffu), ready.add(2, 0xffffu), ready.add(1, 0xffffffffu), ready.add(2, 0xffff0000u);
  std::vector<uint32_t> order;
  for (; !ready.empty(); random = random * 6364136223846793005u + 1442695040888963407u) {
    order.push_back(ready.take([&] { return random >> 16; }));
  }
  return order;
}

}  // namespace

CASE(every_ready_thread_comes_once) {
  std::vector<std::vector<uint32_t>> orders;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    orders.push_back(order_of(seed * 0x9e3779b97f4a7c15u));
    std::vector<uint32_t> all(96), sorted = orders.back();
    std::iota(all.begin(), all.end(), 0u);
    std::sort(sorted.begin(), sorted.end());
    EXPECT(sorted == all);
  }
  EXPECT(orders[0] != orders[1] && orders[1] != orders[2] && orders[2] != orders[3]);
}
