// Shadows of calls on a device from many threads, each with a stream of its own, under the sanitizers: what is compared
// is what the arms made of that very call, memory is touched by one of them at a time, and goes back in the end.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "call.h"
#include "shadow.h"
#include "shape_bucket.h"

using namespace opswap;

#define CHECK(condition) \
  if (!(condition)) std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), std::_Exit(1)

struct PlayedEvent {
  uint64_t recorded = 0, reached = 0;
  float at = 0;
};
// Work is done when the stream is run, outside the lock, as a device does it beside the host.
struct PlayedStream {
  std::deque<std::function<void()>> work;
  float now = 0;
};

namespace {

std::mutex mutex;
std::map<void *, size_t> memory;
thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
thread_local bool calls = false;  // this thread is in a call, which neither waits nor allocates

void give(cudaStream_t stream, std::function<void()> work) {
  std::lock_guard lock(mutex);
  stream->work.push_back(std::move(work));
}

void run(PlayedStream &stream) {
  for (;;) {
    std::unique_lock lock(mutex);
    if (stream.work.empty()) return;
    const auto next = std::move(stream.work.front());
    stream.work.pop_front();
    lock.unlock();
    next();
  }
}

size_t held() {
  std::lock_guard lock(mutex);
  return memory.size();
}

bool comes(const std::function<bool()> &what) {
  for (int i = 0; i < 10'000 && !what(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return what();
}

}  // namespace

cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaSetDevice(int) {
  CHECK(!calls);
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *other) {
  return std::swap(mode, *other), cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus *status) {
  return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return *event = new PlayedEvent, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  std::unique_lock lock(mutex);
  const uint64_t n = ++event->recorded;
  lock.unlock();
  give(stream, [event, n, stream] {
    std::lock_guard reached(mutex);
    event->reached = n;
    event->at = stream->now += 1;
  });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  CHECK(mode == cudaStreamCaptureModeRelaxed);
  std::lock_guard lock(mutex);
  return event->reached < event->recorded ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
  std::lock_guard lock(mutex);
  return *ms = end->at - begin->at, cudaSuccess;
}
cudaError_t cudaMalloc(void **to, size_t bytes) {
  CHECK(!calls);
  std::lock_guard lock(mutex);
  memory[ *to = std::aligned_alloc(64, (bytes + 63) / 64 * 64)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **to, size_t bytes, unsigned) { return cudaMalloc(to, bytes); }
cudaError_t cudaFree(void *at) {
  CHECK(!calls);
  std::lock_guard lock(mutex);
  CHECK(memory.erase(at) == 1);
  return std::free(at), cudaSuccess;
}
cudaError_t cudaFreeHost(void *at) { return cudaFree(at); }
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return give(stream, [=] { std::memcpy(to, from, bytes); }), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
  return give(stream, [=] { std::memset(to, value, bytes); }), cudaSuccess;
}

// What the shadow asks of the rest of the library, on an op of one output that is updated: out += value of the arm.
namespace opswap {

std::atomic<bool> trace_on{false};
void trace_store(const Op &, const Impl &, uint64_t, Arm, int64_t) {}
uint64_t step_ticks() { return 0; }
Place place_of(const Op &) {
  static std::atomic<int64_t> step{0};
  return {0, 0, ++step, 0};
}
std::string bucket_name(const OpSpec &, uint64_t) { return "bucket"; }

opswap_status bind(const Op &, const opswap_arg *args, int32_t, Bound &bound) {
  bound.given = args;
  const ArgsBase base{kDLCUDA, 0};
  *reinterpret_cast<ArgsBase *>(bound.args) = base;
  return OPSWAP_OK;
}

opswap_status run_implementation(const Op &, Impl &impl, const Bound &bound, const opswap_exec &exec) {
  const DLTensor &t = *bound.given[0].v.tensor;
  float *const to = static_cast<float *>(t.data);
  give(static_cast<cudaStream_t>(exec.stream), [to, n = t.shape[0], by = float(impl.priority)] {
    for (int64_t i = 0; i < n; ++i) to[i] += by;
  });
  return OPSWAP_OK;
}
size_t workspace_of(const Impl &, const Bound &, const opswap_exec &) { return 64; }

}  // namespace opswap

namespace {

struct Fixture {
  ArgSpec args[1] = {{"out", true, true, false, -1, -1}};
  OpSpec spec{};
  Op op;
  Impl control, candidate;

  Fixture() {
    spec.name = "op";
    spec.nargs = 1;
    spec.args = args;
    spec.bucket = [](const void *) -> uint64_t { return 1; };
    op.spec = &spec;
    control.name = "control", candidate.name = "candidate";
    control.external = candidate.external = true;
    control.priority = 3, candidate.priority = 5;
  }
  std::shared_ptr<Shadow> start() {
    opswap_shadow config{};
    config.salt = 7;
    config.share_of_calls = config.share_of_time = 1;
    config.most_of_bucket = 1 << 30;
    config.memory = 1 << 20;
    return std::make_shared<Shadow>(op, &control, &candidate, config);
  }
};

// A live call by control on a tensor of its own, which holds what it is as of its stream.
struct Caller {
  PlayedStream stream;
  std::vector<float> out;
  int64_t shape[1], strides[1] = {1};
  DLTensor tensor{};
  opswap_arg arg{};

  explicit Caller(int64_t n) : out(size_t(n), 1), shape{n} {
    tensor = {out.data(), {kDLCUDA, 0}, 1, {2, 32, 1}, shape, strides, 0};
    arg.tag = OPSWAP_TENSOR;
    arg.v.tensor = &tensor;
  }
  void call(Fixture &f, Shadow &shadow, bool well) {
    calls = true;
    Bound bound;
    bind(f.op, &arg, 1, bound);
    opswap_exec exec{};
    exec.stream = &stream;
    Shadow::Chosen chosen;
    shadow.before(bound, &stream, chosen);
    if (well) run_implementation(f.op, f.control, bound, exec);
    if (chosen.bucket) shadow.after(well ? 0 : 1, chosen, &f.control);
    calls = false;
  }
};

std::vector<opswap_shadow_record> records(const Shadow &shadow) {
  std::vector<opswap_shadow_record> all(5000);
  all.resize(shadow.read(0, reinterpret_cast<char *>(all.data()), sizeof all[0], all.size()));
  return all;
}

void check(const std::vector<opswap_shadow_record> &all) {
  for (const opswap_shadow_record &r : all) {
    CHECK(!r.control_status && !r.candidate_status && !r.candidate_overran);
    CHECK(r.elements >= 100 && r.elements < 104 && r.differing == r.elements);
    CHECK(r.max_abs == 2 && r.floor_differing == 0);
    CHECK(r.control_ns == 1'000'000 && r.candidate_ns == 1'000'000);
  }
}

// Until `stop` after so many calls; returns the number of records.
size_t from_many_threads(Fixture &f, int calls_before_stop) {
  constexpr int kThreads = 4, kCalls = 300;
  const std::shared_ptr<Shadow> shadow = f.start();
  std::atomic<int> made{0};
  std::vector<std::unique_ptr<Caller>> callers;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) callers.push_back(std::make_unique<Caller>(100 + t));
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      Caller &own = *callers[size_t(t)];
      for (int i = 0; i < kCalls; ++i) {
        own.call(f, *shadow, i % 7 != 0);
        if (++made == calls_before_stop) shadow->stop();
        if (i % 3 == 0) run(own.stream);
        if (i % 16 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      run(own.stream);
    });
  for (auto &thread : threads) thread.join();
  shadow->stop();
  CHECK(comes([] { return held() == 0; }));
  const auto all = records(*shadow);
  check(all);
  return all.size();
}

}  // namespace

int main() {
  static Fixture f;
  CHECK(from_many_threads(f, -1) > 10);
  for (int stopped_at : {1, 2, 17, 400}) from_many_threads(f, stopped_at);
  CHECK(comes([&] { return f.start().use_count() == 1; }));
  std::printf("device shadows passed\n");
}
