// Shadow runs: which calls are chosen, that nothing live is touched, and that each fault of a candidate is found.
#include <chrono>
#include <cmath>
#include <thread>

#include "harness.h"

// A candidate for rms_norm of rows of ones. `fault` says what it does wrong.
enum class Fault { none, error, nan, wrong, overrun };
struct Candidate {
  Fault fault = Fault::none;
  int calls = 0;
  const void *live = nullptr;  // must never be its output
};
static opswap_status candidate(void *ctx, const opswap_arg *args, int32_t, const opswap_exec *) {
  Candidate &self = *static_cast<Candidate *>(ctx);
  ++self.calls;
  if (self.fault == Fault::error) return opswap_set_error(19, "it was told to fail");
  const DLTensor &out = *args[0].v.tensor;
  CHECK(out.data != self.live);
  const int64_t n = out.shape[0] * out.shape[1];
  float *to = static_cast<float *>(out.data);
  for (int64_t i = 0; i < n; ++i) to[i] = self.fault == Fault::wrong && i == n - 1 ? 1.01f : 1.0f;
  if (self.fault == Fault::nan) to[n / 2] = NAN;
  if (self.fault == Fault::overrun) to[n] = 1;
  return 0;
}

struct Shadowed {
  Candidate given;
  opswap_external external{sizeof external, -1, candidate, &given, nullptr, nullptr};
  opswap_shadow config{};

  explicit Shadowed(Fault fault) {
    given.fault = fault;
    CHECK_EQ(opswap_register("rms_norm", "candidate", &external), 0);
    config.struct_size = sizeof config;
    config.control = "ref";
    config.candidate = "candidate";
    config.salt = 7;
    config.share_of_calls = 1;
    config.share_of_time = 1;
    config.most_of_bucket = 1000;
    config.memory = 1 << 20;
  }
  void start() const { CHECK_EQ(opswap_shadow_start("rms_norm", &config), 0); }
};

static std::vector<opswap_shadow_record> records(const char *op = "rms_norm") {
  std::vector<opswap_shadow_record> all(5000);
  all[0].struct_size = sizeof all[0];
  uint64_t count = all.size();
  CHECK_EQ(opswap_shadow_read(op, 0, all.data(), &count), 0);
  all.resize(count);
  return all;
}

static std::string status() {
  char text[1 << 14];
  size_t size = sizeof text;
  CHECK_EQ(opswap_shadow_status("rms_norm", text, &size), 0);
  return text;
}
static bool says(const std::string &text) { return status().find(text) != std::string::npos; }

TEST(shadow) {
  Shadowed good(Fault::none);
  NormCall call(3, 40);
  good.given.live = call.out.data.data();
  opswap_set_context(1, 1, 6);
  good.start();
  for (int step = 2; step < 202; ++step) {
    opswap_set_context(1, step, 6);
    CHECK_EQ(call.run(), 0);
    CHECK(call.right());
  }
  const auto all = records();
  CHECK_EQ(all.size(), 200u);
  int first = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const opswap_shadow_record &r = all[i];
    CHECK_EQ(r.sequence, i + 1);
    CHECK_EQ(r.rank, 1);
    CHECK_EQ(r.epoch, 6);
    CHECK_EQ(r.layer, 0);
    CHECK_EQ(r.control_status, 0);
    CHECK_EQ(r.candidate_status, 0);
    CHECK(r.control_ns > 0 && r.candidate_ns > 0);
    CHECK_EQ(r.elements, 120u);
    CHECK_EQ(r.outside, 0u);
    CHECK(r.max_abs <= 1e-6);
    CHECK_EQ(r.floor_known, i % 8 == 0);
    CHECK_EQ(r.floor_differing, 0u);
    first += r.candidate_first;
  }
  CHECK(first > int(all.size()) / 4 && first < int(all.size()) * 3 / 4);
  CHECK(says("\"salt\":7"));
  CHECK(says("\"bucket\":\"T4 H64 float32\",\"seen\":200,\"chosen\":" + std::to_string(all.size())));
  CHECK_EQ(opswap_shadow_stop("rms_norm"), 0);
  const int calls = good.given.calls;
  CHECK_EQ(call.run(), 0);
  CHECK_EQ(good.given.calls, calls);
  CHECK_EQ(records().size(), all.size());  // still there
}

// Ranks of one salt choose the same calls; another salt chooses others; shares and quotas hold.
TEST(shadow_choice) {
  Shadowed good(Fault::none);
  good.config.share_of_calls = 0.25;
  const auto chosen = [&](uint64_t salt, int32_t rank) {
    good.config.salt = salt;
    good.start();
    NormCall call(1, 8);
    for (int step = 1; step <= 2000; ++step) {
      opswap_set_context(rank, step, 0);
      CHECK_EQ(call.run(), 0);
    }
    std::vector<int64_t> steps;
    for (const auto &r : records()) steps.push_back(r.step);
    CHECK_EQ(opswap_shadow_stop("rms_norm"), 0);
    return steps;
  };
  const auto one = chosen(11, 0), same = chosen(11, 1), other = chosen(12, 0);
  CHECK(one.size() > 400 && one.size() < 600);
  CHECK(one == same);
  CHECK(one != other);
  good.config.most_of_bucket = 30;
  CHECK_EQ(chosen(11, 0).size(), 30u);
  CHECK(says("\"quota\":" + std::to_string(one.size() - 30)));
  good.config.share_of_calls = 0;
  good.config.first_of_bucket = 5;  // a rare shape is covered all the same
  CHECK_EQ(chosen(11, 0).size(), 5u);
}

// At a tenth of the time of steps of 0.2 ms, not every call can have its shadow; what it took is within the share, but
// for the one sample that used the rest of it up.
TEST(shadow_time) {
  Shadowed good(Fault::none);
  good.config.share_of_time = 0.1;
  good.start();
  NormCall call(64, 512);
  const auto began = std::chrono::steady_clock::now();
  for (int step = 1; step <= 1000; ++step) {
    opswap_set_context(0, step, 0);
    CHECK_EQ(call.run(), 0);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  const double all = double((std::chrono::steady_clock::now() - began).count());
  const size_t at = status().find("\"took_ns\":") + 10;
  const double took = std::atof(status().c_str() + at), samples = double(records().size());
  CHECK(samples > 1 && samples < 1000);
  CHECK(took <= 0.1 * all + 4 * took / samples);
}

// The arm that comes first runs once more beforehand, untimed, unless the live call has just been that.
TEST(shadow_warm) {
  Shadowed good(Fault::none);
  NormCall call(4, 16);
  for (const char *live : {"ref", "candidate"}) {
    CHECK_EQ(opswap_use("rms_norm", live), 0);
    good.given.calls = 0;
    good.start();
    for (int i = 0; i < 200; ++i) CHECK_EQ(call.run(), 0);
    int first = 0;
    for (const auto &r : records()) first += r.candidate_first;
    CHECK(first > 50 && first < 150);
    // Its runs besides the timed ones: of its own before it comes first, or the live ones.
    CHECK_EQ(good.given.calls, 200 + (live == std::string("ref") ? first : 200));
    CHECK_EQ(opswap_shadow_stop("rms_norm"), 0);
  }
}

// What a candidate does wrong is in the record, ends the shadow where it must, and never reaches the live call.
TEST(shadow_faults) {
  Shadowed bad(Fault::none);
  NormCall call(4, 16);
  const auto last = [&](Fault fault, const std::string &ended_by) {
    bad.given.fault = fault;
    bad.start();
    CHECK_EQ(call.run(), 0);
    CHECK(call.right());
    CHECK(says("\"ended_by\":\"" + ended_by + "\""));
    CHECK(says(ended_by.empty() ? "\"running\":true" : "\"running\":false"));
    CHECK_EQ(opswap_shadow_stop("rms_norm"), 0);
    CHECK_EQ(records().size(), 1u);
    return records()[0];
  };
  CHECK_EQ(last(Fault::error, "the candidate failed: it was told to fail").candidate_status, 19);
  const auto nan = last(Fault::nan, "the candidate's values are not finite where control's are");
  CHECK_EQ(nan.became_nonfinite, 1u);
  CHECK_EQ(nan.outside, 1u);
  CHECK_EQ(last(Fault::overrun, "the candidate wrote outside its outputs").candidate_overran, 1);
  const auto wrong = last(Fault::wrong, "");
  CHECK_EQ(wrong.outside, 1u);
  CHECK_EQ(wrong.became_nonfinite, 0u);
  CHECK(std::fabs(wrong.max_abs - 0.01) < 1e-6);
  // rms_norm in float32 allows atol 1e-5 and rtol 1.3e-6.
  CHECK(std::fabs(wrong.worst - wrong.max_abs / (1e-5 + 1.3e-6)) < 1);
}

static opswap_status failing(void *, const opswap_arg *, int32_t, const opswap_exec *) {
  return opswap_set_error(19, "control cannot either");
}

// A call that control cannot run says nothing of the candidate, and the shadow goes on.
TEST(shadow_control_fails) {
  Shadowed bad(Fault::error);
  opswap_external control{sizeof control, -1, failing, nullptr, nullptr, nullptr};
  CHECK_EQ(opswap_register("rms_norm", "failing", &control), 0);
  bad.config.control = "failing";
  bad.start();
  NormCall call(4, 16);
  for (int i = 0; i < 3; ++i) CHECK_EQ(call.run(), 0);
  CHECK_EQ(records().size(), 3u);
  CHECK_EQ(records()[2].control_status, 19);
  CHECK_EQ(records()[2].candidate_status, 19);
  CHECK(says("\"running\":true") && says("\"ended_by\":\"\""));
}

// An op that updates its arguments runs on what they were before the live call, which is all that changes them.
TEST(shadow_in_place) {
  opswap_shadow config{};
  config.struct_size = sizeof config;
  config.control = "ref";
  config.candidate = "cpu";
  config.share_of_calls = config.share_of_time = 1;
  config.most_of_bucket = 10;
  config.memory = 1 << 20;
  CHECK_EQ(opswap_shadow_start("fused_add_rms_norm", &config), 0);
  Floats input({2, 8}, 1), residual({2, 8}, 2), weight({8}, 1);
  opswap_arg args[] = {arg(input), arg(residual), arg(weight), arg(0.0)};
  CHECK_EQ(opswap_call("fused_add_rms_norm", args, 4, nullptr), 0);
  for (float x : residual.data) CHECK_EQ(x, 3.0f);
  for (float x : input.data) CHECK(std::fabs(x - 1) < 1e-5f);
  const auto all = records("fused_add_rms_norm");
  CHECK_EQ(all.size(), 1u);
  CHECK_EQ(all[0].candidate_status, 0);
  CHECK_EQ(all[0].elements, 32u);
  CHECK_EQ(all[0].outside, 0u);  // both arms saw 1 and 2, not what the live call or the other arm left
  CHECK_EQ(opswap_shadow_stop("fused_add_rms_norm"), 0);
}

static opswap_status token(void *ctx, const opswap_arg *args, int32_t, const opswap_exec *) {
  *static_cast<int64_t *>(args[0].v.tensor->data) = *static_cast<int64_t *>(ctx);
  return 0;
}

// Integers are compared as they are: these two are one double.
TEST(shadow_integers) {
  int64_t right = int64_t(1) << 53, wrong = right + 1, out = 0;
  const opswap_external external[] = {{sizeof(opswap_external), -1, token, &right, nullptr},
                                      {sizeof(opswap_external), -1, token, &wrong, nullptr}};
  CHECK_EQ(opswap_register("greedy_sample", "right", &external[0]), 0);
  CHECK_EQ(opswap_register("greedy_sample", "wrong", &external[1]), 0);
  Shadowed how(Fault::none);
  how.config.control = "right";
  how.config.candidate = "wrong";
  CHECK_EQ(opswap_shadow_start("greedy_sample", &how.config), 0);
  Floats logits({1, 8});
  int64_t shape[] = {1}, strides[] = {1};
  const DLTensor ids{&out, {kDLCPU, 0}, 1, {0, 64, 1}, shape, strides, 0};
  opswap_arg args[] = {arg(logits), arg(logits)};
  args[0].v.tensor = &ids;
  CHECK_EQ(opswap_call("greedy_sample", args, 2, nullptr), 0);
  right = INT64_MIN, wrong = INT64_MAX;  // apart by more than an int64 holds
  CHECK_EQ(opswap_call("greedy_sample", args, 2, nullptr), 0);
  const auto all = records("greedy_sample");
  CHECK_EQ(all.size(), 2u);
  CHECK_EQ(all[0].outside, 1u);
  CHECK_EQ(all[0].max_abs, 1.0);
  CHECK_EQ(all[1].max_abs, 0x1p64);
  CHECK_EQ(opswap_shadow_stop("greedy_sample"), 0);
}

// Calls on many threads with starts and stops beside them: none fails, and what is left out has its reason.
TEST(shadow_threads) {
  Shadowed good(Fault::none);
  std::atomic<bool> done{false};
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      NormCall call(2, 96);
      for (int i = 0; i < 1500; ++i) {
        CHECK_EQ(call.run(), 0);
        CHECK(call.right());
      }
    });
  std::thread operator_thread([&] {
    opswap_shadow config = good.config;
    config.candidate = "cpu";
    while (!done) {
      CHECK_EQ(opswap_shadow_start("rms_norm", &config), 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      status();
      CHECK_EQ(opswap_shadow_stop("rms_norm"), 0);
      records();
    }
  });
  for (auto &t : callers) t.join();
  done = true;
  operator_thread.join();
}

TEST(shadow_border) {
  Shadowed good(Fault::none);
  uint64_t count = 1;
  opswap_shadow_record record{};
  record.struct_size = sizeof record;
  CHECK_EQ(name(opswap_shadow_read("rms_norm", 0, &record, &count)), "OPSWAP_E_ARGUMENT");
  CHECK_EQ(name(opswap_shadow_stop("rms_norm")), "OPSWAP_E_ARGUMENT");
  CHECK_EQ(name(opswap_shadow_start("rms_nrm", &good.config)), "OPSWAP_E_NO_OP");
  CHECK_EQ(name(opswap_shadow_start("rms_norm", nullptr)), "OPSWAP_E_ABI");
  good.config.candidate = "candidat";
  CHECK_EQ(name(opswap_shadow_start("rms_norm", &good.config)), "OPSWAP_E_NO_IMPL");
  good.config.candidate = "candidate";
  for (double share : {-0.1, 1.1, double(NAN)}) {
    good.config.share_of_calls = share;
    CHECK_EQ(name(opswap_shadow_start("rms_norm", &good.config)), "OPSWAP_E_ARGUMENT");
  }
  good.config.share_of_calls = 1;
  good.config.share_of_time = 0;
  CHECK_EQ(name(opswap_shadow_start("rms_norm", &good.config)), "OPSWAP_E_ARGUMENT");
  good.config.share_of_time = 1;
  good.start();
  CHECK_EQ(name(opswap_shadow_start("rms_norm", &good.config)), "OPSWAP_E_EXISTS");
  record.struct_size = 8;
  CHECK_EQ(name(opswap_shadow_read("rms_norm", 0, &record, &count)), "OPSWAP_E_ABI");
  CHECK_EQ(opswap_shadow_stop("rms_norm"), 0);
  good.config.memory = 100;
  good.start();
  NormCall call(4, 64);
  CHECK_EQ(call.run(), 0);
  CHECK(says("\"memory\":1"));
  CHECK_EQ(records().size(), 0u);
}
