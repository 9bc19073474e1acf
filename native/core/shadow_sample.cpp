// One shadow sample: an untimed run of the arm that comes first unless the live call was one, a timed run of each, and
// the comparison.
#include "shadow_sample.h"

#include <memory>
#include <new>

#include "call.h"
#include "check.h"

namespace opswap {
namespace {

constexpr size_t kAlignment = 64;

Difference compare_outputs(const OpSpec &op, const ScratchCall &got, const ScratchCall &expected) {
  Difference all;
  for (int32_t i = 0; i < got.outputs(); ++i) {
    const DLTensor &right = expected.output(i);
    all.add(compare(got.output(i), right, tolerance_of(op, dtype_of(right.dtype))));
  }
  return all;
}

}  // namespace

void note_difference(const Difference &d, opswap_shadow_record &record) {
  record.elements = d.elements;
  record.differing = d.differing;
  record.outside = d.outside;
  record.became_nonfinite = d.became_nonfinite;
  record.max_abs = d.max_abs;
  record.worst = d.worst;
}

void note_floor(const Difference &d, opswap_shadow_record &record) {
  record.floor_known = 1;
  record.floor_differing = d.differing;
  record.floor_worst = d.worst;
}

ShadowSample::ShadowSample(const Op &op, Impl *control, Impl *candidate, const Bound &live)
    : op_(op), arms_{control, candidate}, live_(*op.spec, live.given, CutCall::Of::written) {
  record_.struct_size = sizeof record_;
}

size_t ShadowSample::bytes() const {
  return OldValues::bytes(*op_.spec, live_) + 2 * ScratchCall::bytes(*op_.spec, live_);
}

void ShadowSample::keep(char *memory) {
  memory_ = memory;
  HostCopies copies;
  old_.keep(*op_.spec, live_, memory, copies);
}

// With a workspace of its own, which is no part of the time.
opswap_status ShadowSample::run_arm(int arm, ScratchCall &call, uint64_t &elapsed) {
  HostCopies copies;
  call.fill(old_, copies);
  opswap_exec exec{};
  exec.struct_size = sizeof exec;
  exec.workspace_size = workspace_of(*arms_[arm], call.bound(), exec);
  const std::unique_ptr<char[]> room(new (std::nothrow) char[exec.workspace_size + kAlignment]);
  if (!room) return fail(OPSWAP_E_MEMORY, "%s: no %zu bytes of workspace", op_.spec->name, exec.workspace_size);
  const uintptr_t at = reinterpret_cast<uintptr_t>(room.get());
  exec.workspace = room.get() + (kAlignment - at % kAlignment) % kAlignment;
  const uint64_t began = ticks_now();
  const opswap_status status = run_implementation(op_, *arms_[arm], call.bound(), exec);
  elapsed = ticks_now() - began;
  return status;
}

void ShadowSample::run(const Impl *by, uint64_t chance, bool with_floor) {
  const size_t kept = OldValues::bytes(*op_.spec, live_), half = ScratchCall::bytes(*op_.spec, live_);
  const int first = int(chance & 1);
  control_at_ = int(chance >> 1 & 1);
  for (size_t place = 0; place < 2; ++place) {
    if (opswap_status e = places_[place].lay_out(op_, live_, memory_ + kept + place * half)) {
      record_.control_status = record_.candidate_status = e;
      return;
    }
  }
  uint64_t elapsed[2] = {};
  opswap_status status[2];
  // So that both timed runs find code and inputs in the caches.
  if (arms_[first] != by) run_arm(first, call_of(first), elapsed[first]);
  for (int arm : {first, 1 - first}) {
    status[arm] = run_arm(arm, call_of(arm), elapsed[arm]);
    if (arm == kCandidate && status[arm]) candidate_error_ = opswap_last_error();
  }
  record_.candidate_first = first;
  record_.control_ns = int64_t(ticks_to_ns(elapsed[kControl]));
  record_.candidate_ns = int64_t(ticks_to_ns(elapsed[kCandidate]));
  record_.control_status = status[kControl];
  record_.candidate_status = status[kCandidate];
  record_.candidate_overran = !call_of(kCandidate).intact();
  if (status[kControl] || status[kCandidate] || record_.candidate_overran) return;
  compare_arms();
  if (with_floor) find_floor();
}

void ShadowSample::compare_arms() {
  note_difference(compare_outputs(*op_.spec, call_of(kCandidate), call_of(kControl)), record_);
}

// Control once more, where the candidate's outputs were.
void ShadowSample::find_floor() {
  uint64_t ignored;
  if (run_arm(kControl, call_of(kCandidate), ignored)) return;
  note_floor(compare_outputs(*op_.spec, call_of(kCandidate), call_of(kControl)), record_);
}

}  // namespace opswap
