// The threads of a block that can run. The draw stays with a warp for a while and goes on from lane to lane: lanes of a
// warp wait for each other far more often than for the rest of the block, and what comes next can be fetched.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace opswap::emu {

class Ready {
 public:
  void resize(size_t warps) { lanes_.resize(warps); }
  bool empty() const { return warps_.empty(); }
  void add(uint32_t warp, uint32_t lanes) {
    if (!lanes) return;
    if (!lanes_[warp]) warps_.push_back(warp);
    lanes_[warp] |= lanes;
  }
  // The number in the block of the thread to go on, of which there is one; `draw` gives random bits.
  template <class Draw>
  uint32_t take(Draw &&draw) {
    if (!turns_ || at_ >= warps_.size()) pick(draw());
    --turns_;
    const uint32_t warp = warps_[at_];
    lane_ = next();
    if (!(lanes_[warp] &= ~(1u << lane_))) {
      warps_[at_] = warps_.back(), warps_.pop_back();
      at_ = warps_.size();  // draws a warp anew
    }
    return warp * 32 + lane_;
  }
  // The thread that take() is most likely to pick, or `otherwise`.
  uint32_t likely(uint32_t otherwise) const { return at_ < warps_.size() ? warps_[at_] * 32 + next() : otherwise; }

 private:
  void pick(uint64_t random) {
    constexpr uint64_t kLaneTurns = 8, kPicksOfWarp = 8;  // how long the draw stays, on average, if it can
    turns_ = uint32_t(1 + random % (2 * kLaneTurns - 1));
    lane_ = uint32_t(random / 256 % 32);
    if (at_ >= warps_.size() || random / 8192 % kPicksOfWarp == 0) at_ = size_t(random / 65536 % warps_.size());
  }
  uint32_t next() const {
    return (uint32_t(std::countr_zero(std::rotr(lanes_[warps_[at_]], int(lane_)))) + lane_) % 32;
  }
  std::vector<uint32_t> lanes_, warps_;  // of each warp; the warps that have one
  size_t at_ = 0;
  uint32_t lane_ = 0, turns_ = 0;
};

}  // namespace opswap::emu
