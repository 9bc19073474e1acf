// The C border: bad structs and buffers, two builds in one process, and descriptors made of random bits.
#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "harness.h"

TEST(border) {
  opswap_version version{};
  CHECK_EQ(name(opswap_get_version(&version)), "OPSWAP_E_ABI");
  CHECK_EQ(name(opswap_get_version(nullptr)), "OPSWAP_E_ABI");
  version.struct_size = sizeof version;
  CHECK_EQ(opswap_get_version(&version), 0);
  CHECK_EQ(version.abi_major, OPSWAP_ABI_MAJOR);
  CHECK_EQ(std::strlen(version.build_digest), 64u);

  NormCall call(1, 4);
  opswap_exec exec{};
  CHECK_EQ(name(call.run(&exec)), "OPSWAP_E_ABI");
  exec.struct_size = sizeof exec;
  exec.impl = "nothing";
  CHECK_EQ(name(call.run(&exec)), "OPSWAP_E_NO_IMPL");
  CHECK_EQ(name(opswap_call("rms_norm", call.args, 3, nullptr)), "OPSWAP_E_COUNT");
  CHECK_EQ(name(opswap_call("rms_norm", nullptr, 4, nullptr)), "OPSWAP_E_NULL");
  CHECK_EQ(name(opswap_call(nullptr, nullptr, 0, nullptr)), "OPSWAP_E_NO_OP");
  CHECK_EQ(name(opswap_trace_start(~0ull)), "OPSWAP_E_ARGUMENT");
  CHECK_EQ(std::string(opswap_status_name(12345)), "OPSWAP_E_UNKNOWN");

  char small[4] = "abc";
  size_t size = sizeof small;
  CHECK_EQ(name(opswap_stats(small, &size)), "OPSWAP_E_BUFFER");
  CHECK(size > sizeof small);
  CHECK_EQ(std::string(small), "abc");
  CHECK_EQ(name(opswap_why("rms_norm", nullptr, 0, nullptr, nullptr)), "OPSWAP_E_NULL");

  size = 7;
  CHECK_EQ(opswap_plan("rms_norm", call.args, 4, nullptr, nullptr, &size), 0);
  CHECK_EQ(size, 0u);
  CHECK_EQ(opswap_workspace_size("rms_norm", call.args, 4, nullptr, &size), 0);

  call.args[0].v.tensor = nullptr;
  CHECK_EQ(name(call.run()), "OPSWAP_E_NULL");
  call.args[0] = arg(call.out);
  call.out.dl.data = nullptr;
  CHECK_EQ(name(call.run()), "OPSWAP_E_NULL");
  call.out.dl.data = call.out.data.data();
  call.out.dl.strides = nullptr;
  CHECK_EQ(name(call.run()), "OPSWAP_E_NULL");
  call.out.dl.strides = call.out.strides.data();
  call.out.dl.device.device_type = kDLCUDA;
  CHECK_EQ(name(call.run()), "OPSWAP_E_DEVICE");
  call.input.dl.device.device_type = call.weight.dl.device.device_type = kDLCUDA;
  CHECK_EQ(name(call.run()), "OPSWAP_E_UNUSABLE");  // a CPU implementation never takes device memory
}

// A copy of the library under another name: switching one leaves the other alone.
TEST(side_by_side) {
  Dl_info info{};
  CHECK(dladdr(reinterpret_cast<void *>(&opswap_call), &info));
  const std::string copy = "/tmp/opswap-side-by-side-" + std::to_string(getpid()) + ".so";
  std::filesystem::copy_file(info.dli_fname, copy, std::filesystem::copy_options::overwrite_existing);
  void *second = dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::filesystem::remove(copy);
  CHECK(second);
  auto use = reinterpret_cast<decltype(&opswap_use)>(dlsym(second, "opswap_use"));
  auto why = reinterpret_cast<decltype(&opswap_why)>(dlsym(second, "opswap_why"));
  CHECK(use != &opswap_use);
  CHECK_EQ(use("rms_norm", "ref"), 0);
  char text[4096];
  size_t size = sizeof text;
  CHECK_EQ(why("rms_norm", nullptr, 0, text, &size), 0);
  CHECK(std::strstr(text, "\"active\":\"ref\""));
  size = sizeof text;
  CHECK_EQ(opswap_why("rms_norm", nullptr, 0, text, &size), 0);
  CHECK(std::strstr(text, "\"active\":\"cpu\""));
}

// A valid call as text: one word an argument; f, i, l = tensor of float32, int32, int64 and its shape; r, n, p, b =
// scalars, of which p is an int that has to be positive; o = not given.
struct Template {
  const char *op, *args;
};
constexpr Template kTemplates[] = {
    {"rms_norm", "f2x9 f2x9 f9 r"},
    {"fused_add_rms_norm", "f2x9 f2x9 f9 r"},
    {"silu_and_mul", "f2x9 f2x18"},
    {"gelu_tanh_and_mul", "f2x9 f2x18"},
    {"rotary_embedding", "l2 f2x3x8 f2x1x8 f4x8 b"},
    {"reshape_and_cache", "f2x2x8 f2x2x8 f3x2x4x8 f3x2x4x8 l2"},
    {"attention_prefill", "f2x2x8 f2x2 f2x2x8 f3x1x4x8 f3x1x4x8 i1x3 o i2 i1 o o o o f2 r b n r b"},
    {"attention_decode", "f1x2x8 f1x2 f1x2x8 f3x1x4x8 f3x1x4x8 i1x3 i1 f1 f1 o o f2 o r p n r b"},
    {"paged_attention", "f2x2x8 f2x2 f2x2x8 f3x1x4x8 f3x1x4x8 i1x3 i2 i1 o o f3x1x4x1 f3x1x4x1 o o r p b n r b"},
    {"linear", "f3x5 f3x7 f5x7 f5"},
    {"greedy_sample", "l2 f2x33"},
    {"gumbel_sample", "l2 f2x33 l2"},
};

// A call made from a template with a few fields replaced by random ones, over memory large enough for any of them.
class RandomCall {
 public:
  explicit RandomCall(uint64_t seed) : random_(seed), memory_(kMostArgs, std::vector<char>(kBytes)) {}

  opswap_status run() {
    const Template &from = kTemplates[below(std::size(kTemplates))];
    int count = 0;
    for (const char *word = from.args; word; word = std::strchr(word, ' '), word += word ? 1 : 0) fill(count++, word);
    return opswap_call(from.op, args_, count - int(rarely()), nullptr);
  }

 private:
  static constexpr int kMostArgs = 20, kDims = 8;
  static constexpr size_t kBytes = 1 << 22;  // more than any random shape and stride below can reach

  uint64_t below(uint64_t n) { return random_() % n; }
  bool rarely() { return below(40) == 0; }

  static int32_t tag_of(char kind) {
    constexpr char kKinds[] = "rnpbo";
    constexpr int32_t kTags[] = {OPSWAP_FLOAT, OPSWAP_INT, OPSWAP_INT, OPSWAP_BOOL, OPSWAP_NONE};
    const char *at = std::strchr(kKinds, kind);
    return at ? kTags[at - kKinds] : OPSWAP_TENSOR;
  }

  void fill(int i, const char *word) {
    args_[i] = {};
    args_[i].tag = tag_of(*word);
    if (args_[i].tag == OPSWAP_FLOAT) args_[i].v.f = 0.5;
    if (args_[i].tag == OPSWAP_INT) args_[i].v.i = *word == 'p' ? 1 : -1;
    if (args_[i].tag == OPSWAP_TENSOR) tensor(i, word);
    if (rarely()) args_[i].tag = int32_t(below(8)) == OPSWAP_STRING ? OPSWAP_NONE : OPSWAP_TENSOR;
    if (args_[i].tag == OPSWAP_TENSOR && std::strchr("rnpbo", *word)) args_[i].v.tensor = nullptr;
  }

  void tensor(int i, const char *word) {
    constexpr DLDataType f32 = {2, 32, 1}, i32 = {0, 32, 1}, i64 = {0, 64, 1},
                         others[] = {{4, 16, 1}, {2, 64, 1}, {9, 8, 1}};
    int ndim = 0;
    for (const char *p = word + 1; ndim < kDims;) {
      char *end = nullptr;
      shapes_[i][ndim++] = rarely() ? int64_t(below(12)) : std::strtol(p, &end, 10);
      p = std::strpbrk(p, "x ");
      if (!p || *p++ == ' ') break;
    }
    int64_t contiguous = 1;
    for (int d = ndim; d-- > 0; contiguous *= shapes_[i][d])
      strides_[i][d] = rarely() ? int64_t(below(40)) : contiguous;
    const DLDataType dtype = *word == 'f' ? f32 : *word == 'i' ? i32 : i64;
    tensors_[i] = {memory_[size_t(i)].data(),
                   {kDLCPU, 0},
                   ndim - int(rarely()),
                   rarely() ? others[below(3)] : dtype,
                   shapes_[i],
                   strides_[i],
                   0};
    args_[i].v.tensor = &tensors_[i];
    if (*word == 'f') return;
    for (int at = 0; at < 8; ++at) {
      const int64_t value = rarely() ? int64_t(random_()) : int64_t(below(3));
      if (*word == 'i') reinterpret_cast<int32_t *>(tensors_[i].data)[at] = int32_t(value);
      if (*word == 'l') reinterpret_cast<int64_t *>(tensors_[i].data)[at] = value;
    }
  }

  std::mt19937_64 random_;
  std::vector<std::vector<char>> memory_;
  int64_t shapes_[kMostArgs][kDims] = {}, strides_[kMostArgs][kDims] = {};
  DLTensor tensors_[kMostArgs] = {};
  opswap_arg args_[kMostArgs] = {};
};

// Every call returns, and only with a status of the table; the sanitizer builds see any access outside.
TEST(fuzz) {
  const char *rounds_text = std::getenv("OPSWAP_FUZZ_ROUNDS");
  const int rounds = rounds_text ? std::atoi(rounds_text) : 20000;
  RandomCall call(20260101);
  int ran = 0;
  for (int round = 0; round < rounds; ++round) {
    const opswap_status status = call.run();
    CHECK(name(status) != "OPSWAP_E_UNKNOWN" && name(status) != "OPSWAP_E_INTERNAL");
    ran += status == 0;
  }
  std::printf("%d of %d random calls were valid\n", ran, rounds);
  CHECK(ran > rounds / 10 && ran < rounds * 9 / 10);
}
