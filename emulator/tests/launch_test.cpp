// How a room starts a kernel: launch() with a cluster and without, and what it says of one that cannot start.
#define OPSWAP_OP "test_op"
#include "common/sm90/launch.h"

#include <string>

#include "check.h"
#include "common/sm90/cluster.h"

using namespace opswap;
using namespace opswap::sm90;

namespace {

__global__ void who(int *rank, int blocks) {
  if (threadIdx.x == 0) rank[blockIdx.x] = int(cluster_rank()) * 10 + int(cluster_blocks()) * (blocks > 0);
  cluster_sync();
}

__global__ void reach(int *) { map_shared(static_cast<int *>(emu::dynamic_smem(4)), 9); }

std::string said() { return opswap_last_error(); }

}  // namespace

CASE(launch_makes_clusters) {
  int rank[8]{};
  const opswap_exec exec{};
  EXPECT(launch(exec, "who", who, Geometry{.grid = {8}, .block = {64}, .cluster = {4}}, rank, 8) == OPSWAP_OK);
  for (int i = 0; i < 8; ++i) EXPECT(rank[i] == i % 4 * 10 + 4);
  EXPECT(launch(exec, "who", who, Geometry{.grid = {8}, .block = {64}}, rank, 8) == OPSWAP_OK);
  for (int i = 0; i < 8; ++i) EXPECT(rank[i] == 1);
  EXPECT(launch(exec, "who", who, Geometry{.grid = {0}, .block = {64}, .cluster = {4}}, rank, 8) == OPSWAP_OK);
}

CASE(launch_tells_what_did_not_start) {
  const opswap_exec exec{};
  const Geometry odd{.grid = {6}, .block = {32}, .cluster = {4}};
  EXPECT(launch(exec, "who", who, odd, nullptr, 3) == OPSWAP_E_LAUNCH);
  EXPECT(said().find("test_op: kernel who did not start: a cluster needs 1 to 16 blocks and divides the grid; "
                     "grid (6, 1, 1), block (32, 1, 1), cluster (4, 1, 1)") == 0);
  const Geometry good{.grid = {2}, .block = {32}, .smem = 64, .cluster = {2}};
  EXPECT(launch(exec, "reach", reach, good, nullptr) == OPSWAP_E_LAUNCH);
  EXPECT(said().find("mapa: rank 9 of a cluster of 2 blocks") != std::string::npos);
}

CASE(launch_has_no_room_for_static_beside_dynamic) {
  constexpr size_t kStatic = 3000, kOfABlock = 227 * 1024;
  const auto with = [](size_t dynamic) {
    return emu::run({"wide", 1, 32, dynamic}, [] {
      OPSWAP_SHARED(unsigned char[kStatic - 1000], first);
      OPSWAP_SHARED(unsigned char[1000], second);
      first[threadIdx.x] = second[threadIdx.x] = 0;
    });
  };
  EXPECT_CLEAN(with(kOfABlock - kStatic));
  EXPECT_CLEAN(with(0));
  EXPECT_FOUND(
      "the kernel has 3000 bytes of static shared memory, the launch asked for 229449 of dynamic: a block has "
      "at most 232448",
      with(kOfABlock - kStatic + 1));
}
