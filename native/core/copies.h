// Copies and fills of memory, by this thread or on a device's stream.
#pragma once

#include <cstddef>
#include <cstring>

namespace opswap {

class Copies {
 public:
  virtual void copy(void *to, const void *from, size_t bytes) = 0;
  virtual void set(void *to, unsigned char value, size_t bytes) = 0;

 protected:
  ~Copies() = default;
};

class HostCopies final : public Copies {
 public:
  void copy(void *to, const void *from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void set(void *to, unsigned char value, size_t bytes) override { std::memset(to, value, bytes); }
};

}  // namespace opswap
