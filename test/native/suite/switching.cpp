// Live switches beside running calls: none fails, none is lost from the counters or the trace.
#include <atomic>
#include <ctime>
#include <thread>

#include "harness.h"

static constexpr int kCallers = 3, kCalls = 4000;

static std::string stats() {
  size_t size = 0;
  opswap_stats(nullptr, &size);
  std::string text(size + 4096, 0);
  size = text.size();
  CHECK_EQ(name(opswap_stats(text.data(), &size)), "OPSWAP_OK");
  return text.c_str();
}

// Sum of the "calls" of one op over its implementations.
static long calls_of(const std::string &op) {
  const std::string json = stats();
  size_t at = json.find("{\"op\":\"" + op + "\"");
  const size_t end = json.find("{\"op\":", at + 1);
  long total = 0;
  while ((at = json.find("\"calls\":", at)) < end) total += std::atol(json.c_str() + (at += 8));
  return total;
}

TEST(toggle) {
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c)
    callers.emplace_back([&] {
      NormCall call(2, 96);
      for (int i = 0; i < kCalls; ++i) wrong += call.run() != 0 || !call.right();
    });
  std::thread switcher([&] {
    for (int i = 0; !done; ++i) CHECK_EQ(opswap_use("rms_norm", i % 2 ? "ref" : "cpu"), 0);
  });
  for (auto &t : callers) t.join();
  done = true;
  switcher.join();
  CHECK_EQ(wrong.load(), 0);
  CHECK_EQ(calls_of("rms_norm"), long(kCallers) * kCalls);
}

TEST(stats) {
  CHECK_EQ(calls_of("rms_norm"), 0L);
  NormCall call(1, 64);
  for (int i = 0; i < 1000; ++i) CHECK_EQ(call.run(), 0);
  call.args[3].tag = OPSWAP_STRING;
  CHECK_EQ(name(call.run()), "OPSWAP_E_ARGUMENT");
  CHECK_EQ(calls_of("rms_norm"), 1000L);  // a refused call is not a call of an implementation
  CHECK(stats().find("\"p99_ns\":0.0,") != std::string::npos);
  // 256 of the first thousand are timed, then one in eight; all of them in the one bucket of 1 and 64.
  const std::string timed = "\"bucket\":\"T1 H64 float32\",\"timed\":349,\"mean_ns\":";
  CHECK(stats().find(timed) != std::string::npos);
  NormCall larger(3, 65);
  CHECK_EQ(larger.run(), 0);  // call 1000, which is timed
  CHECK(stats().find("\"bucket\":\"T4 H128 float32\",\"timed\":1,") != std::string::npos);
  CHECK(stats().find("\"errors\":0,\"timed\":350,\"mean_ns\":") != std::string::npos);  // of both buckets
  opswap_reset_stats();
  CHECK_EQ(calls_of("rms_norm"), 0L);
  CHECK(stats().find("\"bucket\":") == std::string::npos);
}

// The table of buckets has places for 64; more shapes than that are counted, and none of the first is lost.
TEST(buckets) {
  int made = 0;
  for (int64_t rows = 1; made < 80; rows *= 2)
    for (int64_t width = 1; width <= 1 << 11 && made < 80; width *= 2, ++made) {
      NormCall call(rows, width);
      CHECK_EQ(call.run(), 0);
    }
  const std::string json = stats();
  size_t buckets = 0;
  for (size_t at = 0; (at = json.find("\"bucket\":", at)) != std::string::npos; ++at) ++buckets;
  CHECK_EQ(buckets, 64u);
  CHECK(json.find("\"beyond_buckets\":16") != std::string::npos);
  CHECK(json.find("\"errors\":0,\"timed\":80,\"mean_ns\":") != std::string::npos);  // those beyond too
  CHECK(json.find("\"bucket\":\"T1 H1 float32\",\"timed\":1,") != std::string::npos);
}

TEST(trace) {
  CHECK_EQ(opswap_trace_start(1 << 10), 0);
  opswap_set_context(3, 1, 1);
  std::atomic<bool> done{false};
  std::thread reader([&] {
    std::vector<opswap_trace_record> records(4096);
    records[0].struct_size = sizeof records[0];
    uint64_t after = 0;
    while (!done) {
      uint64_t count = records.size();
      CHECK_EQ(opswap_trace_read(after, records.data(), &count), 0);
      for (uint64_t i = 0; i < count; ++i) {
        CHECK(records[i].sequence > after);
        CHECK_EQ(records[i].rank, 3);
        after = records[i].sequence;
      }
    }
  });
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c)
    callers.emplace_back([&] {
      NormCall call(1, 8);
      for (int i = 0; i < kCalls; ++i) call.run();
    });
  for (auto &t : callers) t.join();
  done = true;
  reader.join();
  opswap_trace_record last[8] = {};
  last[0].struct_size = sizeof last[0];
  uint64_t count = 8;
  CHECK_EQ(opswap_trace_read(uint64_t(kCallers) * kCalls - 8, last, &count), 0);
  CHECK_EQ(count, 8u);
  CHECK_EQ(last[7].sequence, uint64_t(kCallers) * kCalls);
}

// Records of a ring that writers go round all the time are whole: of one call each, or left out.
TEST(trace_whole) {
  CHECK_EQ(opswap_trace_start(2), 0);
  std::atomic<int> running{kCallers};
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c)
    callers.emplace_back([&, c] {
      NormCall norm(1, 8);
      Floats out({1, 32}), input({1, 64});
      opswap_arg gated[] = {arg(out), arg(input)};
      for (int i = 0; i < kCalls; ++i)
        c ? CHECK_EQ(norm.run(), 0) : CHECK_EQ(opswap_call("silu_and_mul", gated, 2, nullptr), 0);
      --running;
    });
  std::map<int, uint64_t> bucket_of;  // of each op, which has one shape
  opswap_trace_record records[2] = {};
  while (running) {
    records[0].struct_size = sizeof records[0];
    uint64_t count = 2;
    CHECK_EQ(opswap_trace_read(0, records, &count), 0);
    for (uint64_t i = 0; i < count; ++i)
      CHECK_EQ(bucket_of.try_emplace(records[i].op, records[i].bucket).first->second, records[i].bucket);
  }
  for (auto &t : callers) t.join();
  CHECK_EQ(opswap_trace_start(0), 0);
}

// What a record says of a call: its step and place in it, its shapes, when and for how long.
TEST(trace_records) {
  NormCall call(5, 96);
  CHECK_EQ(call.run(), 0);
  CHECK_EQ(opswap_trace_start(16), 0);
  opswap_set_context(2, 10, 4);
  for (int i = 0; i < 3; ++i) CHECK_EQ(call.run(), 0);
  opswap_set_context(2, 11, 4);
  CHECK_EQ(call.run(), 0);
  opswap_set_context(2, 11, 5);  // another epoch, the same step
  CHECK_EQ(call.run(), 0);
  struct Wider {
    opswap_trace_record record;
    int64_t later_field;
  } records[8] = {};
  records[0].record.struct_size = sizeof records[0];
  uint64_t count = 8;
  CHECK_EQ(opswap_trace_read(0, &records[0].record, &count), 0);
  CHECK_EQ(count, 5u);
  const int64_t now = int64_t(std::time(nullptr));
  const int layers[] = {0, 1, 2, 0, 1}, steps[] = {10, 10, 10, 11, 11}, epochs[] = {4, 4, 4, 4, 5};
  for (int i = 0; i < 5; ++i) {
    const opswap_trace_record &r = records[i].record;
    CHECK_EQ(r.struct_size, uint32_t(sizeof r));
    CHECK_EQ(r.layer, layers[i]);
    CHECK_EQ(r.step, steps[i]);
    CHECK_EQ(r.epoch, epochs[i]);
    CHECK_EQ(r.arm, 0);
    CHECK(r.duration_ns > 0 && r.duration_ns < 1'000'000'000);
    CHECK(r.time_ns / 1'000'000'000 - now >= -2 && r.time_ns / 1'000'000'000 - now <= 2);
    char bucket[64];
    size_t size = sizeof bucket;
    CHECK_EQ(opswap_bucket_name("rms_norm", r.bucket, bucket, &size), 0);
    CHECK_EQ(std::string(bucket), "T8 H128 float32");
  }
  records[0].record.struct_size = 8;
  count = 8;
  CHECK_EQ(name(opswap_trace_read(0, &records[0].record, &count)), "OPSWAP_E_ABI");
  CHECK_EQ(opswap_trace_start(0), 0);
}

static opswap_status triple(void *ctx, const opswap_arg *args, int32_t nargs, const opswap_exec *) {
  CHECK_EQ(nargs, 4);
  if (*static_cast<bool *>(ctx)) return opswap_set_error(19, "it was told to fail");
  float *out = static_cast<float *>(args[0].v.tensor->data);
  for (int64_t i = 0; i < args[0].v.tensor->shape[1]; ++i) out[i] = 3;
  return 0;
}

TEST(external) {
  bool fails = false;
  opswap_external external{sizeof external, -1, triple, &fails, nullptr, nullptr};
  CHECK_EQ(opswap_register("rms_norm", "framework", &external), 0);
  CHECK_EQ(name(opswap_register("rms_norm", "framework", &external)), "OPSWAP_E_EXISTS");
  NormCall call(1, 4);
  CHECK_EQ(call.run(), 0);
  CHECK(call.right());  // registering switches nothing
  CHECK_EQ(opswap_use("rms_norm", "framework"), 0);
  CHECK_EQ(call.run(), 0);
  CHECK_EQ(call.out.data[3], 3.0f);
  fails = true;
  CHECK_EQ(name(call.run()), "OPSWAP_E_EXTERNAL");
  CHECK_EQ(std::string(opswap_last_error()), "it was told to fail");
  opswap_external absent{sizeof absent, -1, nullptr, nullptr, "this engine has none", nullptr};
  CHECK_EQ(opswap_register("silu_and_mul", "framework", &absent), 0);
  CHECK_EQ(name(opswap_use("silu_and_mul", "framework")), "OPSWAP_E_UNUSABLE");
  CHECK(std::string(opswap_last_error()).find("this engine has none") != std::string::npos);
}

static std::string why(const char *op) {
  char text[8192];
  size_t size = sizeof text;
  CHECK_EQ(opswap_why(op, nullptr, 0, text, &size), 0);
  return text;
}

// What `why` says of the toggle class of an implementation.
static std::string toggle_class(const char *op, const std::string &impl) {
  const std::string told = why(op), key = "\"toggle_class\":\"";
  const size_t start = told.find(key, told.find("{\"name\":\"" + impl + "\"")) + key.size();
  return told.substr(start, told.find('"', start) - start);
}

TEST(toggle_class_of_an_external) {
  bool fails = false;
  opswap_external external{sizeof external, -1, triple, &fails, nullptr, "restart"};
  CHECK_EQ(opswap_register("rms_norm", "packed", &external), 0);
  CHECK_EQ(toggle_class("rms_norm", "packed"), "restart");
  CHECK_EQ(toggle_class("rms_norm", "ref"), "live");
  external.toggle_class = "sometimes";
  CHECK_EQ(name(opswap_register("rms_norm", "other", &external)), "OPSWAP_E_ARGUMENT");
  CHECK(std::string(opswap_last_error()).find("'sometimes', expected live, recapture or restart") != std::string::npos);
  // Of a host that was built before the field, nothing behind its struct is read.
  external.struct_size = offsetof(opswap_external, toggle_class);
  CHECK_EQ(opswap_register("rms_norm", "older", &external), 0);
  CHECK_EQ(toggle_class("rms_norm", "older"), "live");
}
