// Control and candidate run on the inputs of one live call.
#pragma once

#include <string>

#include "compare.h"
#include "scratch_call.h"

namespace opswap {

enum ArmIndex : int { kControl = 0, kCandidate = 1 };

// What a record says of candidate against control, and of control against itself.
void note_difference(const Difference &d, opswap_shadow_record &record);
void note_floor(const Difference &d, opswap_shadow_record &record);

class ShadowSample {
 public:
  // Of a call that `live` outlives; std::bad_alloc, where memory is out.
  ShadowSample(const Op &op, Impl *control, Impl *candidate, const Bound &live);

  // Bytes of memory that it needs, 64-byte aligned.
  size_t bytes() const;

  // Before the live call: keeps what it will overwrite and the arms have to read.
  void keep(char *memory);

  // After it, which `by` has run. `chance` decides which arm runs first and where its outputs lie; the floor takes one
  // more run of control.
  void run(const Impl *by, uint64_t chance, bool with_floor);

  // What came of it: times, statuses and differences. Place, bucket and sequence are the caller's.
  const opswap_shadow_record &record() const { return record_; }
  // What the candidate said where it failed.
  const std::string &candidate_error() const { return candidate_error_; }

 private:
  opswap_status run_arm(int arm, ScratchCall &call, uint64_t &elapsed);
  void compare_arms();
  void find_floor();

  const Op &op_;
  Impl *const arms_[2];
  const CutCall live_;
  char *memory_ = nullptr;
  OldValues old_;
  // Outputs of either arm. Which arm has which place is chance: of two places one is faster, by some tenths of a
  // percent of a short kernel.
  ScratchCall places_[2];
  int control_at_ = 0;
  ScratchCall &call_of(int arm) { return places_[arm ^ control_at_]; }
  opswap_shadow_record record_{};
  std::string candidate_error_;
};

}  // namespace opswap
