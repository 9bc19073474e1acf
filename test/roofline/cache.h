// A cache that keeps what was used last, and what goes through it.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

namespace opswap::roofline {

struct Moved {
  int64_t asked = 0, missed = 0;  // bytes that blocks ask L2 for, and that L2 asks memory for
};

// What was used last stays: `bytes` of pieces.
class Cache {
 public:
  explicit Cache(int64_t bytes) : left_(bytes) {}

  bool holds(int64_t key, int64_t bytes) {  // afterwards it does
    if (const auto found = at_.find(key); found != at_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    order_.push_front({key, bytes});
    at_[key] = order_.begin();
    for (left_ -= bytes; left_ < 0 && !order_.empty(); order_.pop_back())
      left_ += order_.back().bytes, at_.erase(order_.back().key);
    return false;
  }

 private:
  struct Piece {
    int64_t key, bytes;
  };
  int64_t left_;
  std::list<Piece> order_;
  std::unordered_map<int64_t, std::list<Piece>::iterator> at_;
};

}  // namespace opswap::roofline
