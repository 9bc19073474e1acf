// Makes, opens and removes segments of POSIX shared memory, as ArrayBuffers.
#include "shm.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace opswap_node {
namespace {

constexpr double kMaxBytes = 68719476736.0;  // limits.segment_bytes of ipc/messages.json

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Takes back the name of a half-made segment, unless the segment was completed.
class NameGuard {
 public:
  explicit NameGuard(std::string name) : name_(std::move(name)) {}
  NameGuard(const NameGuard &) = delete;
  NameGuard &operator=(const NameGuard &) = delete;
  ~NameGuard() {
    if (armed_) shm_unlink(name_.c_str());
  }
  void release() { armed_ = false; }

 private:
  std::string name_;
  bool armed_ = true;
};

// A mapping that is undone, unless a buffer took it over.
class Mapping {
 public:
  Mapping(int fd, size_t bytes)
      : data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), bytes_(bytes) {}
  Mapping(const Mapping &) = delete;
  Mapping &operator=(const Mapping &) = delete;
  ~Mapping() {
    if (valid()) munmap(data_, bytes_);
  }
  bool valid() const { return data_ != MAP_FAILED; }
  void *data() const { return data_; }
  void release() { data_ = MAP_FAILED; }

 private:
  void *data_;
  size_t bytes_;
};

static_assert(!std::is_copy_constructible_v<Descriptor> && !std::is_copy_constructible_v<NameGuard> &&
              !std::is_copy_constructible_v<Mapping>);

// What the arguments of all three calls say: "/name", and bytes where the call takes them.
struct Segment {
  std::string name;
  size_t bytes = 0;
};

Napi::Error failure(Napi::Env env, const char *code, const std::string &message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

// The number goes along: the client says what to do about it.
Napi::Error failed(Napi::Env env, const char *call, const Segment &segment, int error) {
  const char *code = error == ENOMEM || error == ENOSPC ? "OPSWAP_E_MEMORY" : "OPSWAP_E_SEGMENT";
  Napi::Error told = failure(env, code, std::string(call) + " " + segment.name.substr(1) + ": " + std::strerror(error));
  told.Set("errno", Napi::Number::New(env, error));
  return told;
}

// Whether the process may make a file of this size; to find out by trying raises SIGXFSZ, which ends it.
bool within_limit(size_t bytes) {
  struct rlimit limit = {};
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur;
}

// Names reach the kernel as file names below /dev/shm, so only the pool's own pattern is let through.
bool is_name(const std::string &text) {
  if (text.rfind("opswap-", 0) != 0 || text.size() > 96) return false;
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

Segment arguments(const Napi::CallbackInfo &info, const char *call, bool with_bytes) {
  const Napi::Env env = info.Env();
  const std::string text = info.Length() > 0 && info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (!is_name(text))
    throw failure(env, "OPSWAP_E_SEGMENT",
                  std::string(call) + ": expected a name opswap-<pid>-<start>-<n>; got \"" + text + "\"");
  Segment segment{"/" + text};
  if (!with_bytes) return segment;
  const double bytes = info.Length() > 1 && info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : 0;
  if (!(bytes >= 1 && bytes <= kMaxBytes) || bytes != double(size_t(bytes)))
    throw failure(env, "OPSWAP_E_SEGMENT",
                  std::string(call) + " " + text + ": expected a whole number of bytes from 1 to 2^36; got " +
                      std::to_string(bytes));
  segment.bytes = size_t(bytes);
  return segment;
}

// The buffer owns the mapping: it is unmapped when the last view of it is collected, never while JavaScript can see it.
Napi::Value mapped(Napi::Env env, const char *call, const Segment &segment, const Descriptor &file) {
  Mapping mapping(file.get(), segment.bytes);
  if (!mapping.valid()) throw failed(env, call, segment, errno);
  auto unmap = [](Napi::Env, void *memory, size_t *bytes) { munmap(memory, *std::unique_ptr<size_t>(bytes)); };
  auto bytes = std::make_unique<size_t>(segment.bytes);
  Napi::Value buffer = Napi::ArrayBuffer::New(env, mapping.data(), segment.bytes, unmap, bytes.get());
  mapping.release();
  static_cast<void>(bytes.release());  // the finalizer's now
  return buffer;
}

Napi::Value create(const Napi::CallbackInfo &info) {
  const Segment segment = arguments(info, "shmCreate", true);
  if (!within_limit(segment.bytes)) throw failed(info.Env(), "shmCreate", segment, EFBIG);
  const Descriptor file(shm_open(segment.name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) throw failed(info.Env(), "shmCreate", segment, errno);
  NameGuard guard(segment.name);
  if (ftruncate(file.get(), off_t(segment.bytes)) != 0) throw failed(info.Env(), "shmCreate", segment, errno);
  // Pages are reserved now: a full /dev/shm must be an error here, not a SIGBUS at the first write.
  if (const int error = posix_fallocate(file.get(), 0, off_t(segment.bytes)))
    throw failed(info.Env(), "shmCreate", segment, error);
  Napi::Value buffer = mapped(info.Env(), "shmCreate", segment, file);
  guard.release();
  return buffer;
}

Napi::Value open(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const Segment segment = arguments(info, "shmOpen", true);
  const Descriptor file(shm_open(segment.name.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (!file.valid()) throw failed(env, "shmOpen", segment, errno);
  struct stat found = {};
  if (fstat(file.get(), &found) != 0) throw failed(env, "shmOpen", segment, errno);
  if (found.st_uid != geteuid()) throw failed(env, "shmOpen", segment, EACCES);
  // Pages past the end of the file raise SIGBUS, so a size that is not there is refused before it is mapped.
  if (size_t(found.st_size) < segment.bytes)
    throw failure(env, "OPSWAP_E_SEGMENT",
                  "shmOpen " + segment.name.substr(1) + ": expected at least " + std::to_string(segment.bytes) +
                      " bytes; the segment has " + std::to_string(found.st_size));
  return mapped(env, "shmOpen", segment, file);
}

void unlink(const Napi::CallbackInfo &info) {
  const Segment segment = arguments(info, "shmUnlink", false);
  if (shm_unlink(segment.name.c_str()) != 0 && errno != ENOENT) throw failed(info.Env(), "shmUnlink", segment, errno);
}

}  // namespace

void register_shm(Napi::Env env, Napi::Object exports) {
  exports.Set("shmCreate", Napi::Function::New(env, create, "shmCreate"));
  exports.Set("shmOpen", Napi::Function::New(env, open, "shmOpen"));
  exports.Set("shmUnlink", Napi::Function::New(env, unlink, "shmUnlink"));
}

}  // namespace opswap_node
