// The device's memory has the old values, the outputs of two arms, and a workspace; the host's has copies of the
// outputs of both, and of control's second run.
#include "device_shadow.h"

#include <algorithm>
#include <new>
#include <utility>

#include "call.h"
#include "check.h"
#include "shadow_sample.h"

namespace opswap {
namespace {

enum Mark : int { kKeeps, kKept, kBegins, kEnds, kTimed };  // from kTimed on two per arm

opswap_exec exec_on(void *stream, char *workspace, size_t size) {
  opswap_exec exec{};
  exec.struct_size = sizeof exec;
  exec.stream = stream;
  exec.workspace = workspace;
  exec.workspace_size = size;
  return exec;
}

}  // namespace

DeviceShadow::DeviceShadow(const Op &op, Impl *control, Impl *candidate, uint64_t most_memory)
    : op_(op), arms_{control, candidate}, slot_(std::make_shared<DeviceSlot>(most_memory)) {}

std::optional<LeftOut> DeviceShadow::before(const Bound &bound, void *stream) {
  if (!has_copies(*op_.spec, bound)) return LeftOut::device;
  const CutCall live(*op_.spec, bound.given, CutCall::Of::nothing);
  const size_t kept = OldValues::bytes(*op_.spec, live), half = ScratchCall::bytes(*op_.spec, live);
  const opswap_exec exec = exec_on(stream, nullptr, 0);
  const size_t workspace = std::max(workspace_of(*arms_[0], bound, exec), workspace_of(*arms_[1], bound, exec));
  const auto left_out = slot_->take(bound.base().device_id, stream, kept + 2 * half + workspace, 3 * half);
  if (left_out) return left_out;
  live_.emplace(*op_.spec, bound.given, CutCall::Of::nothing);
  kept_ = kept, half_ = half, workspace_ = workspace, stream_ = stream;
  slot_->mark(kKeeps);
  old_ = {};
  old_.keep(*op_.spec, *live_, slot_->device_memory(), *slot_);
  slot_->mark(kKept);
  return std::nullopt;
}

void DeviceShadow::give_up() noexcept {
  done_ = nullptr;
  hand_over();
}

void DeviceShadow::after(const opswap_shadow_record &begun, const Order &order, Done done) noexcept {
  sample_ = {};
  sample_.record = begun;
  control_at_ = int(order.chance >> 1 & 1);
  has_floor_ = false;
  done_ = std::move(done);
  try {
    ran_ = lay_out();
    slot_->mark(kBegins);
    if (ran_) run_arms(order);
    slot_->mark(kEnds);
  } catch (const std::bad_alloc &) {
    sample_.well = false;
  }
  hand_over();
}

void DeviceShadow::hand_over() noexcept try {
  slot_->finish([self = shared_from_this()](bool well) { self->finish(well); });
} catch (const std::bad_alloc &) {
  slot_->stop();  // nobody will see its end, so it stays taken
}

bool DeviceShadow::lay_out() {
  for (size_t place = 0; place < 2; ++place) {
    if (opswap_status e = places_[place].lay_out(op_, *live_, slot_->device_memory() + kept_ + place * half_)) {
      sample_.record.control_status = sample_.record.candidate_status = e;
      return false;
    }
  }
  describe_outputs();
  return true;
}

void DeviceShadow::describe_outputs() {
  outputs_.clear();
  const ScratchCall &call = places_[0];
  for (int32_t i = 0; i < call.outputs(); ++i) {
    const DLTensor &t = call.output(i);
    Output &out = outputs_.emplace_back();
    out.tensor = t;
    out.tensor.device = {kDLCPU, 0};
    out.dims.assign(t.shape, t.shape + t.ndim);
    out.dims.insert(out.dims.end(), t.strides, t.strides + t.ndim);
    out.at = size_t(static_cast<const char *>(t.data) - (slot_->device_memory() + kept_));
    out.bytes = call.output_bytes(i);
  }
}

// `marks`: where its time begins and ends; nullptr: it is not timed.
opswap_status DeviceShadow::run_arm(int arm, int place, const int *marks) {
  ScratchCall &call = places_[place];
  call.fill(old_, *slot_);
  const opswap_exec exec = exec_on(stream_, slot_->device_memory() + kept_ + 2 * half_, workspace_);
  if (marks) slot_->mark(marks[0]);
  const opswap_status status = run_implementation(op_, *arms_[arm], call.bound(), exec);
  if (marks) slot_->mark(marks[1]);
  return status;
}

void DeviceShadow::run_arms(const Order &order) {
  opswap_shadow_record &record = sample_.record;
  const int first = int(order.chance & 1);
  opswap_status status[2];
  if (arms_[first] != order.by) run_arm(first, place_of_arm(first), nullptr);
  for (int arm : {first, 1 - first}) {
    const int marks[] = {kTimed + 2 * arm, kTimed + 2 * arm + 1};
    status[arm] = run_arm(arm, place_of_arm(arm), marks);
    if (arm == kCandidate && status[arm]) sample_.candidate_error = opswap_last_error();
  }
  record.candidate_first = first;
  record.control_status = status[kControl];
  record.candidate_status = status[kCandidate];
  slot_->copy(slot_->pinned_memory(), slot_->device_memory() + kept_, 2 * half_);
  if (order.with_floor && !status[kControl] && !status[kCandidate]) find_floor();
}

// Control once more, where the candidate's outputs were; they have been copied by then.
void DeviceShadow::find_floor() {
  const int place = place_of_arm(kCandidate);
  has_floor_ = !run_arm(kControl, place, nullptr);
  slot_->copy(slot_->pinned_memory() + 2 * half_, slot_->device_memory() + kept_ + size_t(place) * half_, half_);
}

// On the other thread, when the device has come to the end.
void DeviceShadow::finish(bool well) {
  const Done done = std::exchange(done_, nullptr);
  if (!done) return;
  sample_.well = sample_.well && well;
  if (sample_.well && ran_) compare_arms();
  done(sample_);
}

void DeviceShadow::compare_arms() {
  opswap_shadow_record &record = sample_.record;
  const auto timed = [&](int arm) { return slot_->between(kTimed + 2 * arm, kTimed + 2 * arm + 1); };
  record.control_ns = int64_t(timed(kControl));
  record.candidate_ns = int64_t(timed(kCandidate));
  sample_.took_ns = slot_->between(kKeeps, kKept) + slot_->between(kBegins, kEnds);
  const size_t control = size_t(place_of_arm(kControl)) * half_, candidate = half_ - control;
  record.candidate_overran = !std::all_of(outputs_.begin(), outputs_.end(), [&](const Output &out) {
    return guards_hold(slot_->pinned_memory() + candidate + out.at, out.bytes);
  });
  if (record.control_status || record.candidate_status || record.candidate_overran) return;
  note_difference(differences(candidate, control), record);
  if (has_floor_) note_floor(differences(2 * half_, control), record);
}

Difference DeviceShadow::differences(size_t got, size_t expected) {
  Difference all;
  for (Output &out : outputs_) {
    DLTensor of_got = out.tensor;
    of_got.shape = out.dims.data();
    of_got.strides = out.dims.data() + of_got.ndim;
    DLTensor of_expected = of_got;
    of_got.data = slot_->pinned_memory() + got + out.at;
    of_expected.data = slot_->pinned_memory() + expected + out.at;
    all.add(compare(of_got, of_expected, tolerance_of(*op_.spec, dtype_of(of_got.dtype))));
  }
  return all;
}

}  // namespace opswap
