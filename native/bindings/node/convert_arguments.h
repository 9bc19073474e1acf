// Reads members of the objects that convertTensor is given: one of several names, or a whole number in a range.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "tensor.h"

namespace opswap_node {

template <class E>
struct Named {
  const char *name;
  E value;
};

template <class E, size_t N>
E choice(Napi::Object job, const char *key, const Named<E> (&names)[N]) {
  const std::string given = job.Get(key).ToString();
  std::string all;
  for (const Named<E> &row : names) {
    if (given == row.name) return row.value;
    all += std::string(all.empty() ? "" : ", ") + row.name;
  }
  raise(job.Env(), "OPSWAP_E_ARGUMENT", std::string("convertTensor: ") + key + " is " + given + ", not one of " + all);
}

inline int64_t whole(Napi::Object job, const char *key, int64_t least, int64_t most) {
  const Napi::Value value = job.Get(key);
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1e300;
  if (!(x >= double(least) && x <= double(most) && x == double(int64_t(x))))
    raise(job.Env(), "OPSWAP_E_ARGUMENT",
          std::string("convertTensor: ") + key + " needs a whole number from " + std::to_string(least) + " to " +
              std::to_string(most));
  return int64_t(x);
}

constexpr int64_t kMost = int64_t(1) << 53;

}  // namespace opswap_node
