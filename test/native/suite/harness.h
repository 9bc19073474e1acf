// A test is a function registered by name; CHECK ends the process with the place and the two values.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "opswap.h"

inline std::map<std::string, std::function<void()>> &tests() {
  static std::map<std::string, std::function<void()>> all;
  return all;
}

struct Test {
  Test(const char *name, std::function<void()> body) { tests()[name] = std::move(body); }
};
#define TEST(name)                                   \
  static void test_##name();                         \
  static Test registered_##name(#name, test_##name); \
  static void test_##name()

template <class A, class B>
void check_equal(const A &a, const B &b, const char *text, const char *file, int line) {
  if (a == b) return;
  std::ostringstream out;
  out << file << ':' << line << ": " << text << ": " << a << " is not " << b << "; last error: " << opswap_last_error();
  std::fprintf(stderr, "%s\n", out.str().c_str());
  std::_Exit(1);
}
#define CHECK_EQ(a, b) check_equal(a, b, #a " == " #b, __FILE__, __LINE__)
#define CHECK(condition) check_equal(bool(condition), true, #condition, __FILE__, __LINE__)

// Name of a status, so that a failing check prints it.
inline std::string name(opswap_status status) { return opswap_status_name(status); }

// A contiguous float32 tensor with its own memory.
struct Floats {
  std::vector<float> data;
  std::vector<int64_t> shape, strides;
  DLTensor dl{};

  explicit Floats(std::vector<int64_t> dims, float fill = 0) : shape(std::move(dims)), strides(shape.size()) {
    int64_t n = 1;
    for (size_t d = shape.size(); d-- > 0; n *= shape[d]) strides[d] = n;
    data.assign(size_t(n), fill);
    dl = {data.data(), {kDLCPU, 0}, int32_t(shape.size()), {2, 32, 1}, shape.data(), strides.data(), 0};
  }
  Floats(const Floats &) = delete;
};

inline opswap_arg arg(const Floats &t) {
  opswap_arg a{};
  a.tag = OPSWAP_TENSOR;
  a.v.tensor = &t.dl;
  return a;
}
inline opswap_arg arg(double x) {
  opswap_arg a{};
  a.tag = OPSWAP_FLOAT;
  a.v.f = x;
  return a;
}

// rms_norm of rows of ones: every output is 1 / sqrt(1 + epsilon).
struct NormCall {
  Floats out, input, weight;
  opswap_arg args[4];

  NormCall(int64_t rows, int64_t width) : out({rows, width}), input({rows, width}, 1), weight({width}, 1) {
    args[0] = arg(out), args[1] = arg(input), args[2] = arg(weight), args[3] = arg(0.0);
  }
  opswap_status run(const opswap_exec *exec = nullptr) { return opswap_call("rms_norm", args, 4, exec); }
  bool right() const {
    for (float x : out.data)
      if (!(x > 0.999f && x < 1.001f)) return false;
    return true;
  }
};
