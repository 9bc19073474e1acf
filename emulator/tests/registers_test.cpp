// Registers that warpgroups hand to each other.
#include "check.h"
#include "common/sm90/barrier.h"

using namespace opswap;
using namespace opswap::sm90;

namespace {

emu::Report run(unsigned threads, const std::function<void()> &body, uint32_t registers = 0) {
  return emu::run({"test", {1}, {threads}, 0, {}, false, registers}, body);
}
bool first_group() { return threadIdx.x < 128; }

}  // namespace

CASE(registers_that_one_warpgroup_gives_another_may_take) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    emu::options().seed = seed;
    EXPECT_CLEAN(run(384, [] {
      if (first_group())
        registers_shrink<40>();
      else
        registers_grow<232>();
    }));
  }
}

CASE(registers_that_nobody_gives_are_a_deadlock) {
  const auto report = run(384, [] {
    if (!first_group()) registers_grow<232>();
  });
  EXPECT_FOUND("deadlock: 256 of 384 threads wait", report);
  EXPECT_FOUND(
      "setmaxnreg.inc to 232 registers, 0 of the block's 64512 are free, in warpgroup 1, at registers_test.cpp:",
      report);
}

CASE(a_block_has_the_registers_it_was_launched_with) {
  const auto body = [] {
    if (first_group())
      registers_shrink<24>();
    else
      registers_grow<232>();
  };
  EXPECT_CLEAN(run(256, body, 128));
  EXPECT_FOUND("of the block's 30720 are free, in warpgroup 1", run(256, body, 120));
}

CASE(registers_go_to_and_fro_behind_barriers) {
  const auto change = [](bool ordered) {
    return run(128, [=] {
      registers_shrink<64>();
      if (ordered) barrier_sync(1, 128);
      registers_grow<128>();
    });
  };
  EXPECT_CLEAN(change(true));
  EXPECT_FOUND("of its warpgroup has asked (missing barrier)", change(false));
}

CASE(registers_are_changed_in_their_direction) {
  const auto shrunk = run(128, [] { registers_grow<64>(); }, 104);
  EXPECT_FOUND("setmaxnreg.inc: to 64 registers, the warp has 104", shrunk);
  EXPECT_FOUND("setmaxnreg.dec: to 128 registers, the warp has 104", run(128, [] { registers_shrink<128>(); }, 104));
}

CASE(registers_are_changed_by_a_whole_warpgroup) {
  EXPECT_FOUND("the block ended with a setmaxnreg that not all warps of the warpgroup had executed", run(128, [] {
                 if (threadIdx.x >= 32) registers_shrink<64>();
               }));
  EXPECT_FOUND("registers, warp ", run(128, [] {
                 if (threadIdx.x >= 32)
                   registers_shrink<64>();
                 else
                   registers_shrink<40>();
               }));
  EXPECT_FOUND("setmaxnreg.dec: 96 threads are not whole warpgroups", run(96, [] { registers_shrink<64>(); }));
}

CASE(registers_are_changed_by_a_whole_warp) {
  EXPECT_FOUND("setmaxnreg of warp 0", run(128, [] {
                 if (threadIdx.x % 32 == 0) registers_shrink<64>();
                 barrier_sync(1, 128);
               }));
  EXPECT_FOUND("divergent warp: setmaxnreg.dec to", run(128, [] {
                 if (threadIdx.x % 32 == 0)
                   registers_shrink<64>();
                 else
                   registers_shrink<40>();
               }));
}
