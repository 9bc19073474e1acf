// A small table from a 64-bit key to a value that stays where it is: filled by any thread without a lock, never
// emptied.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

namespace opswap {

// `T` is made from its key and has it as `key`. The keys that come first have a place.
template <class T, uint64_t kPlaces>
class Places {
 public:
  Places() = default;
  Places(const Places &) = delete;
  ~Places() {
    for (auto &place : places_) delete place.load();
  }

  // nullptr where every place is taken by another key, or memory ran out.
  T *at(uint64_t key) {
    const uint64_t first = (key * 0x9E3779B97F4A7C15ull) >> 32;
    for (uint64_t i = 0; i < kPlaces; ++i) {
      std::atomic<T *> &place = places_[(first + i) % kPlaces];
      T *there = place.load(std::memory_order_acquire);
      if (!there) {
        T *made = new (std::nothrow) T(key);
        if (!made) return nullptr;
        if (place.compare_exchange_strong(there, made)) return made;
        delete made;  // another thread was first, perhaps with the same key
      }
      if (there->key == key) return there;
    }
    return nullptr;
  }

  template <class F>
  void each(F &&see) const {
    for (const auto &place : places_)
      if (T *there = place.load(std::memory_order_acquire)) see(*there);
  }

 private:
  std::atomic<T *> places_[kPlaces] = {};
};

}  // namespace opswap
