// What the sanitizers must know of fibers. A CUDA thread is a ThreadSanitizer thread; what it knows of memory through
// the asynchronous proxy is a second one.
#pragma once

#include <cstddef>

#ifdef OPSWAP_EMU_TSAN
extern "C" {
void *__tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void *, unsigned);
void *__tsan_get_current_fiber();
void __tsan_acquire(void *);
void __tsan_release(void *);
void __tsan_read_range(void *, unsigned long);
void __tsan_write_range(void *, unsigned long);
void __tsan_func_entry(void *);
void __tsan_func_exit();
void AnnotateIgnoreReadsBegin(const char *, int);
void AnnotateIgnoreReadsEnd(const char *, int);
void AnnotateIgnoreWritesBegin(const char *, int);
void AnnotateIgnoreWritesEnd(const char *, int);
}
#endif
#ifdef OPSWAP_EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace opswap::emu::race {

#ifdef OPSWAP_EMU_TSAN
inline constexpr bool kThreads = true;
#else
inline constexpr bool kThreads = false;
#endif

#ifdef OPSWAP_EMU_TSAN
inline void *create() { return __tsan_create_fiber(0); }
inline void *current() { return __tsan_get_current_fiber(); }
inline void enter(void *context) { __tsan_switch_to_fiber(context, 1); }  // 1: the switch itself orders nothing
inline void acquire(void *object) { __tsan_acquire(object); }
inline void release(void *object) { __tsan_release(object); }
inline void read(const void *p, size_t n) { __tsan_read_range(const_cast<void *>(p), n); }
inline void write(void *p, size_t n) { __tsan_write_range(p, n); }
// What a unit does in its own context is shown as called from where a thread asked for it.
struct Asked {
  explicit Asked(const void *place) { __tsan_func_entry(const_cast<void *>(place)); }
  ~Asked() { __tsan_func_exit(); }
};
// The runtime's own memory is not the kernel's: library functions called here report nothing.
struct Ignore {
  Ignore() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0); }
  ~Ignore() { AnnotateIgnoreReadsEnd("", 0), AnnotateIgnoreWritesEnd("", 0); }
};
#else
inline void *create() { return nullptr; }
inline void *current() { return nullptr; }
inline void enter(void *) {}
inline void acquire(void *) {}
inline void release(void *) {}
inline void read(const void *, size_t) {}
inline void write(void *, size_t) {}
struct Asked {
  explicit Asked(const void *) {}
};
struct Ignore {
  Ignore() {}
};
#endif

#ifdef OPSWAP_EMU_ASAN
inline void unpoison(void *p, size_t n) { __asan_unpoison_memory_region(p, n); }
inline void poison(void *p, size_t n) { __asan_poison_memory_region(p, n); }
inline bool poisoned(const void *p, size_t n) { return __asan_region_is_poisoned(const_cast<void *>(p), n); }
inline void start_switch(void **fake, const void *bottom, size_t size) {
  __sanitizer_start_switch_fiber(fake, bottom, size);
}
inline void finish_switch(void *fake, const void **bottom, size_t *size) {
  __sanitizer_finish_switch_fiber(fake, bottom, size);
}
#else
inline void unpoison(void *, size_t) {}
inline void poison(void *, size_t) {}
inline bool poisoned(const void *, size_t) { return false; }
inline void start_switch(void **, const void *, size_t) {}
inline void finish_switch(void *, const void **, size_t *) {}
#endif

}  // namespace opswap::emu::race
