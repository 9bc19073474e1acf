// The instances of a room's kernels, one per dtype, as the generated glue sees them.
#pragma once

#include "registration.h"
#ifdef OPSWAP_EMULATE
#include "emulator/emulator.h"
#endif

// Under a sanitizer the emulator's build leaves out instances that are another's code with another type of 16 bits.
#ifdef OPSWAP_FEWER_INSTANCES
#define OPSWAP_INSTANCE [[gnu::weak, gnu::visibility("hidden")]]
#else
#define OPSWAP_INSTANCE
#endif

namespace opswap {

template <class Args>
struct Sm90 {
  opswap_status (*run)(const Args &, const opswap_exec &) = nullptr;  // nullptr: the instance is not there
  const char *(*can)(const Args &) = nullptr;                        // nullptr: the room states none
  size_t (*workspace)(const Args &, const opswap_exec &) = nullptr;  // nullptr: none needed
};

// One implementation `sm90` out of all instances; `pick` chooses by the arguments' dtype.
template <class Args, Sm90<Args> (*pick)(const Args &)>
ImplRecord sm90_record(const char *op, const Evidence &evidence) {
  constexpr int32_t kPriority = 20;
  return {.op = op,
          .name = "sm90",
          .isa = Isa::portable,
          .priority = kPriority,
          .device_type = kDLCUDA,
          .run =
              [](const void *args, const opswap_exec &exec) {
                const Args &a = *static_cast<const Args *>(args);
#ifdef OPSWAP_EMULATE
                const emu::Stream stream;
#endif
                return pick(a).run(a, exec);
              },
          .can = [](const void *args) -> const char * {
            const Args &a = *static_cast<const Args *>(args);
            const Sm90<Args> instance = pick(a);
            if (!instance.run) return "its kernels have no instance for this dtype";
            return instance.can ? instance.can(a) : nullptr;
          },
          .workspace = [](const void *args, const opswap_exec &exec) -> size_t {
            const Args &a = *static_cast<const Args *>(args);
            const Sm90<Args> instance = pick(a);
            return instance.workspace ? instance.workspace(a, exec) : 0;
          },
          .evidence = evidence};
}

}  // namespace opswap
