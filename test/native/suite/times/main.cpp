// Times of device work on many threads, under the sanitizers: no call's events are another's, whoever reads them when.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "device.h"
#include "device_times.h"

using namespace opswap;

#define CHECK(condition) \
  if (!(condition)) std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), std::exit(1)

// A stream reaches its events when it is run; each record on it is one millisecond behind the one before.
struct PlayedEvent {
  uint64_t recorded = 0, reached = 0;
  float at = 0;
};
struct PlayedStream {
  std::deque<std::pair<PlayedEvent *, uint64_t>> work;
  float now = 0;
};

namespace {

std::mutex mutex;
std::deque<PlayedEvent> events;
thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;

void run(PlayedStream &stream) {
  std::lock_guard lock(mutex);
  for (; !stream.work.empty(); stream.work.pop_front()) {
    const auto [event, n] = stream.work.front();
    event->reached = n;
    event->at = stream.now += 1;
  }
}

// What a call of `impl` on a stream of its own does, and whether it goes well.
void call(PlayedStream &stream, Impl &impl, bool well) {
  Bound bound;
  bound.given = nullptr;
  const ArgsBase base{kDLCUDA, 0};
  *reinterpret_cast<ArgsBase *>(bound.args) = base;
  opswap_exec exec{};
  exec.stream = &stream;
  DeviceTime time(bound, exec);
  if (well) time.counted(impl, 1);
}

}  // namespace

cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *other) {
  return std::swap(mode, *other), cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus *status) {
  return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event) {
  std::lock_guard lock(mutex);
  return *event = &events.emplace_back(), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  std::lock_guard lock(mutex);
  stream->work.emplace_back(event, ++event->recorded);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  CHECK(mode == cudaStreamCaptureModeRelaxed);
  std::lock_guard lock(mutex);
  return event->reached < event->recorded ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
  std::lock_guard lock(mutex);
  if (begin->reached < begin->recorded || end->reached < end->recorded) return cudaErrorNotReady;
  return *ms = end->at - begin->at, cudaSuccess;
}

namespace opswap {
DeviceScope::DeviceScope(int32_t) {}
DeviceScope::~DeviceScope() = default;
}  // namespace opswap

int main() {
  constexpr int kThreads = 4, kCalls = 2000;
  std::vector<Impl> impls(kThreads);
  std::vector<PlayedStream> streams(kThreads);
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        call(streams[size_t(t)], impls[size_t(t)], i % 5 != 0);
        if (i % 3 == 0) run(streams[size_t(t)]);
      }
      --running;
    });
  std::thread reader([&] {
    while (running) read_device_times();
  });
  for (auto &thread : threads) thread.join();
  reader.join();
  for (PlayedStream &stream : streams) run(stream);
  read_device_times();
  uint64_t timed = 0;
  for (const Impl &impl : impls) {
    const TimesSummary all = impl.stats.buckets.all(ticks_now());
    CHECK(all.count > 0 && all.count <= kCalls * 4 / 5);
    CHECK(all.mean_ns > 0.999e6 && all.mean_ns < 1.001e6);
    timed += all.count;
  }
  CHECK(timed > kThreads * kCalls / 4);
  CHECK(events.size() <= 128);
  std::printf("device times passed\n");
}
