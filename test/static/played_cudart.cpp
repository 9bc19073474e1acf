// A CUDA runtime that is played: what the library's host side may call of CUDA, and nothing else, so that a call that
// waits ends the link. Streams are queues that run when they are asked to, as late as events allow; copies are done
// then, kernels only named. "Device memory" is host memory; a clock of its own says when events were reached. One lock
// is over all of it; what is allocated by the thread that plays is counted, since no call may.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace {

struct Stream;
struct Event {
  Stream *in = nullptr;  // where it was last recorded
  uint64_t recorded = 0, reached = 0;
  float at = 0;  // ms, when it was reached
};
struct Stream {
  std::deque<std::function<void()>> work;
  bool captured = false;
};

std::recursive_mutex mutex;
#define LOCKED std::lock_guard lock(mutex)

constexpr uintptr_t kBadHandle = 0xbad;
std::map<cudaStream_t, Stream> streams;
std::map<cudaEvent_t, Event> events;
std::map<const void *, std::string> kernels;
std::string done;
thread_local cudaError_t last = cudaSuccess;
unsigned blocks = 0;      // of the last launch
constexpr int kSms = 78;  // an H20's
float now = 0, kernel_ms = 0;
uint64_t made = 0;  // events
std::map<void *, size_t> memory;
std::thread::id player;
int allocated_by_player = 0;
bool refuses_memory = false;
int unsafe = 0;  // questions that would have ended a capture
thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;

void run(Stream &s) {
  while (!s.work.empty()) {
    const auto next = s.work.front();
    s.work.pop_front();
    next();
  }
}

template <class Handle>
bool bad(Handle handle) {
  return reinterpret_cast<uintptr_t>(handle) == kBadHandle;
}
cudaError_t said(cudaError_t e) { return last = e; }

void give(cudaStream_t stream, std::string name, std::function<void()> work) {
  streams[stream].work.push_back([name, work] { done += name + "\n", work(); });
}

std::string text_of(const void *handle) { return std::to_string(reinterpret_cast<uintptr_t>(handle)); }

}  // namespace

#define PLAYED extern "C" __attribute__((visibility("default")))

PLAYED void played_run(cudaStream_t stream) {
  LOCKED;
  run(streams[stream]);
}
PLAYED void played_capture(cudaStream_t stream) {
  LOCKED;
  streams[stream].captured = true;
}
PLAYED unsigned played_blocks() { return blocks; }
PLAYED int played_sms() { return kSms; }
PLAYED const char *played_done() { return done.c_str(); }
PLAYED void played_reset() {
  LOCKED;
  streams.clear(), events.clear(), done.clear(), last = cudaSuccess, unsafe = 0;
  player = std::this_thread::get_id(), allocated_by_player = 0;
}
PLAYED void played_kernels_take(float ms) {
  LOCKED;
  kernel_ms = ms;
}
PLAYED int played_unsafe() {
  LOCKED;
  return unsafe;
}
PLAYED unsigned played_events() {
  LOCKED;
  return unsigned(made);
}

PLAYED cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  LOCKED;
  if (bad(event)) return said(cudaErrorInvalidResourceHandle);
  Event &e = events[event];
  e.in = &streams[stream];
  give(stream, "record " + text_of(event) + " on " + text_of(stream),
       [&e, n = ++e.recorded] { e.reached = n, e.at = now; });
  return cudaSuccess;
}

// Work of an implementation under test, done when the stream comes to it.
PLAYED void played_give(cudaStream_t stream, void *to, const void *from, size_t bytes) {
  LOCKED;
  give(stream, "work on " + text_of(stream), [=] { now += kernel_ms, std::memcpy(to, from, bytes); });
}
PLAYED void played_refuse_memory(bool refuse) {
  LOCKED;
  refuses_memory = refuse;
}
PLAYED int played_allocated_by_player() {
  LOCKED;
  return allocated_by_player;
}
PLAYED size_t played_held() {
  LOCKED;
  size_t sum = 0;
  for (const auto &[at, bytes] : memory) sum += bytes;
  return sum;
}

constexpr int kFresh = 0xCD;
PLAYED cudaError_t cudaMalloc(void **to, size_t bytes) {
  LOCKED;
  allocated_by_player += std::this_thread::get_id() == player;
  if (refuses_memory) return said(cudaErrorMemoryAllocation);
  memory[ *to = std::memset(std::aligned_alloc(256, (bytes + 255) / 256 * 256), kFresh, bytes)] = bytes;
  return cudaSuccess;
}
PLAYED cudaError_t cudaHostAlloc(void **to, size_t bytes, unsigned) { return cudaMalloc(to, bytes); }
// As the runtime does, it waits for all streams; what they are to do to this memory is done before.
PLAYED cudaError_t cudaFree(void *at) {
  LOCKED;
  for (auto &[handle, stream] : streams) run(stream);
  return memory.erase(at), std::free(at), cudaSuccess;
}
PLAYED cudaError_t cudaFreeHost(void *at) { return cudaFree(at); }
PLAYED cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
  LOCKED;
  give(stream, "fill on " + text_of(stream), [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

constexpr uintptr_t kFirstMade = 0x10000;

PLAYED cudaError_t cudaEventCreate(cudaEvent_t *event) {
  LOCKED;
  *event = reinterpret_cast<cudaEvent_t>(kFirstMade + made++);
  return cudaSuccess;
}
PLAYED cudaError_t cudaEventDestroy(cudaEvent_t event) {
  LOCKED;
  return events.erase(event), cudaSuccess;
}

PLAYED cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *other) {
  return std::swap(mode, *other), cudaSuccess;
}

PLAYED cudaError_t cudaEventQuery(cudaEvent_t event) {
  LOCKED;
  for (const auto &[handle, stream] : streams) unsafe += stream.captured && mode != cudaStreamCaptureModeRelaxed;
  return events[event].reached < events[event].recorded ? said(cudaErrorNotReady) : cudaSuccess;
}

// Of events that were reached; else it is an error, as in the runtime.
PLAYED cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
  LOCKED;
  for (const Event *e : {&events[begin], &events[end]})
    if (!e->recorded || e->reached < e->recorded) return said(cudaErrorNotReady);
  *ms = events[end].at - events[begin].at;
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  LOCKED;
  if (bad(stream) || bad(event)) return said(cudaErrorInvalidResourceHandle);
  Event &e = events[event];
  if (e.in && e.in->captured) streams[stream].captured = true;
  give(stream, text_of(stream) + " waits for " + text_of(event), [&e, n = e.recorded] {
    while (e.reached < n && e.in && !e.in->work.empty()) {
      const auto next = e.in->work.front();
      e.in->work.pop_front();
      next();
    }
  });
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
  LOCKED;
  *status = streams[stream].captured ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

PLAYED cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  LOCKED;
  give(stream, "copy on " + text_of(stream), [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

PLAYED cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                                     size_t rows, cudaMemcpyKind, cudaStream_t stream) {
  LOCKED;
  give(stream, "copy on " + text_of(stream), [=] {
    for (size_t i = 0; i < rows; ++i)
      std::memcpy(static_cast<char *>(to) + i * to_pitch, static_cast<const char *>(from) + i * from_pitch, width);
  });
  return cudaSuccess;
}

PLAYED cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **) {
  LOCKED;
  if (!kernels.count(function)) return said(cudaErrorInvalidDeviceFunction);
  blocks = config->gridDim.x * config->gridDim.y * config->gridDim.z;
  give(config->stream, "kernel on " + text_of(config->stream), [ms = kernel_ms] { now += ms; });
  return cudaSuccess;
}

PLAYED cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }
PLAYED cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *) { return *a = {}, cudaSuccess; }
PLAYED cudaError_t cudaGetDevice(int *id) { return *id = 0, cudaSuccess; }
PLAYED cudaError_t cudaSetDevice(int) { return cudaSuccess; }
PLAYED cudaError_t cudaGetDeviceCount(int *count) { return *count = 1, cudaSuccess; }
PLAYED cudaError_t cudaDriverGetVersion(int *version) { return *version = 13000, cudaSuccess; }
// The driver's only function that kernels ask for makes tensor maps; here it takes whatever it is given.
PLAYED cudaError_t cudaGetDriverEntryPointByVersion(const char *, void **function, unsigned, unsigned long long,
                                                    cudaDriverEntryPointQueryResult *result) {
  *function = reinterpret_cast<void *>(+[]() { return 0; });
  if (result) *result = cudaDriverEntryPointSuccess;
  return said(cudaSuccess);
}
PLAYED cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
  *p = {};
  std::strcpy(p->name, "played");
  p->major = 9;
  p->multiProcessorCount = kSms;
  return cudaSuccess;
}
PLAYED cudaError_t cudaGetLastError() {
  LOCKED;
  const cudaError_t e = last;
  last = cudaSuccess;
  return e;
}
PLAYED const char *cudaGetErrorName(cudaError_t e) {
  return e == cudaErrorInvalidResourceHandle ? "cudaErrorInvalidResourceHandle" : "another error";
}
PLAYED const char *cudaGetErrorString(cudaError_t) { return "as played"; }

// What nvcc's host code calls when the library is loaded, and its launch stubs, which nothing here calls.
PLAYED void **__cudaRegisterFatBinary(void *) {
  static void *handle = nullptr;
  return &handle;
}
PLAYED void __cudaRegisterFatBinaryEnd(void **) {}
PLAYED void __cudaUnregisterFatBinary(void **) {}
PLAYED void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, uint3 *, uint3 *, dim3 *,
                                   dim3 *, int *) {
  kernels[host] = name;
}
PLAYED cudaError_t __cudaGetKernel(cudaKernel_t *, const void *) { std::abort(); }
PLAYED cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void **, size_t, cudaStream_t) { std::abort(); }
PLAYED cudaError_t cudaLaunchKernel(const void *, dim3, dim3, void **, size_t, cudaStream_t) { std::abort(); }
PLAYED unsigned __cudaPopCallConfiguration(dim3 *, dim3 *, size_t *, void *) { std::abort(); }
