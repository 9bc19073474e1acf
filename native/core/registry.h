// The registry: every op of the manifest, its implementations, and which one is active.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "registration.h"
#include "stats.h"

namespace opswap {

using BindFn = opswap_status (*)(const opswap_arg *, void *out);
using BucketFn = uint64_t (*)(const void *args);

// Two tensor arguments that may be given as one quantised argument, in the place of the first; indices of arguments.
struct QuantizedSpec {
  const char *layout;
  int32_t data, scale;
};

// What a call does with an argument.
struct ArgSpec {
  const char *name;
  bool written;  // a tensor that receives values
  bool kept;     // a written tensor whose old values may be used
  bool host;     // a tensor that may be in host memory while the call is on a device
  // Of a tensor that a call reaches only at the entries of its first dimension that another argument names:
  int32_t index;  // that argument; -1: it is reached everywhere
  int32_t slots;  // its dimension whose slots the index counts through all entries; -1: the index counts the entries
};

// How far an output of this dtype may be from the float64 reference; an output of a dtype without one is exact.
struct Tolerance {
  DType dtype;
  double atol, rtol;
  double equal_ratio;  // share of the elements that has to be the same; 0: any
};

// What a switch to or from an implementation takes, where it is not what the op's others take.
struct ToggleSpec {
  const char *impl;
  const char *toggle_class;
};

// What a row's same bits at every batch size cost on an implementation that can, in words.
struct InvariantSpec {
  const char *impl;
  const char *cost;
};

// One op as the generator writes it.
struct OpSpec {
  const char *name;
  int32_t version;
  int32_t nargs;
  BindFn bind;
  BucketFn bucket;
  const ArgSpec *args;
  const QuantizedSpec *quantized;
  int32_t nquantized;
  const Tolerance *tolerances;
  int32_t ntolerances;
  const char *const *symbols;  // of its shapes, in the order in which a shape bucket has them
  int32_t nsymbols;
  const char *toggle_class;
  const ToggleSpec *toggles;
  int32_t ntoggles;
  const InvariantSpec *invariants;
  int32_t ninvariants;
};

constexpr int kMaxImpls = 16;
constexpr int32_t kMostArgs = 32;
constexpr size_t kArgsRoom = 1024;  // bytes on the stack for one generated argument struct

// One implementation as the registry runs it.
struct Impl {
  const char *name = nullptr;
  const char *isa = nullptr;  // nullptr when it does not matter
  int32_t priority = 0;
  int32_t device_type = kDLCPU;
  bool external = false;
  const ImplRecord *record = nullptr;        // built in
  opswap_external_fn external_fn = nullptr;  // outside the library; null: absent
  void *external_ctx = nullptr;
  const char *absent_reason = nullptr;
  const char *toggle_class = nullptr;
  ImplStats stats;
};

class Recording;
class Shadow;

struct Op {
  const OpSpec *spec = nullptr;
  CheckFn check = nullptr;
  std::atomic<Impl *> active{nullptr};
  std::atomic<bool> asked{false};              // `active` was asked for, so it takes every call
  std::atomic<Impl *> device_choice{nullptr};  // takes device tensors until then; null: no device implementation may
  std::atomic<uint64_t> calls_before_step{0};  // of all its implementations, when the step began
  std::atomic<bool> watched{false};            // calls look for a shadow and a recording that run
  std::mutex watch_mutex;                      // over the two
  std::shared_ptr<Shadow> shadow;              // the last one
  std::shared_ptr<Recording> recording;        // the last one
  std::atomic<int32_t> count{0};               // impls[0..count) are published
  Impl *impls[kMaxImpls] = {};
  int16_t index = 0;
};

Op *find_op(const char *name);  // nullptr: unknown; the error is set, with the nearest names
Impl *find_impl(Op &op, const char *name);
int32_t op_count();
Op &op_at(int32_t index);
int16_t impl_index(const Op &op, const Impl *impl);
uint64_t calls_of(const Op &op);  // over all implementations

// The generator's table.
extern const OpSpec kOps[];
extern const int32_t kOpCount;
extern const char kManifest[];
extern const char kBuildDigest[];
extern const char kPackVersion[];
constexpr int32_t kManifestSchema = 1;

}  // namespace opswap
