// interleave_values on sm_90a: a thread turns 4 features of 16 keys, four words of each feature.
#include "interleave_values.gen.h"

#include "common/device/access.h"
#include "common/device/interleave.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kInterleaveThreads = 128, kFeatures = 4, kWords = 4;

struct InterleavePages {
  uint8_t *plain, *interleaved;  // [NB, KH, BS, V]
  int64_t plain_page, plain_head, plain_slot, page, head;
  int64_t all, heads, runs, slots, quads;  // runs of 16 slots of a page, features by fours
};

// sass interleave_kernel<false>: STG.128
// sass interleave_kernel<true>: LDG.128
template <bool Inverse>
__global__ void __launch_bounds__(kInterleaveThreads) interleave_kernel(const __grid_constant__ InterleavePages pages) {
  dependency_wait();
  dependency_trigger();
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < pages.all;
       i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t feature = i % pages.quads * kFeatures, run = i / pages.quads % pages.runs;
    const int64_t head = i / pages.quads / pages.runs % pages.heads, page = i / pages.quads / pages.runs / pages.heads;
    uint8_t *const plain = pages.plain + page * pages.plain_page + head * pages.plain_head +
                           run * kInterleaved * pages.plain_slot + feature;
    uint8_t *const turned =
        pages.interleaved + page * pages.page + head * pages.head + feature * pages.slots + run * kInterleaved;
    const auto key = [&](int word, int byte) {
      return reinterpret_cast<uint32_t *>(plain + interleaved_key(word, byte) * pages.plain_slot);
    };
    Vec<uint32_t, kWords> rows[kFeatures];
    if constexpr (Inverse) {
#pragma unroll
      for (int f = 0; f < kFeatures; ++f)
        rows[f] = load<kWords>(reinterpret_cast<const uint32_t *>(turned + f * pages.slots));
    }
#pragma unroll
    for (int word = 0; word < kWords; ++word) {
      uint32_t four[4];
#pragma unroll
      for (int k = 0; k < 4; ++k)
        four[k] = Inverse ? rows[k][word] : load<1>(static_cast<const uint32_t *>(key(word, k)))[0];
      const Vec<uint32_t, 4> of = transposed(four);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if constexpr (Inverse)
          store(key(word, k), Vec<uint32_t, 1>{{of[k]}});
        else
          rows[k][word] = of[k];
      }
    }
    if constexpr (!Inverse) {
#pragma unroll
      for (int f = 0; f < kFeatures; ++f) store(reinterpret_cast<uint32_t *>(turned + f * pages.slots), rows[f]);
    }
  }
}

OPSWAP_SM90_CAN(interleave_values) {
  const Tensor &plain = a.inverse ? a.out : a.input, &interleaved = a.inverse ? a.input : a.out;
  if (a.V % kFeatures || placement(plain) % kFeatures)
    return "needs rows of a multiple of 4 features at multiples of 4 bytes";
  if (interleaved.stride[2] != a.V || placement(interleaved) % 16)
    return "needs interleaved pages at multiples of 16 bytes, their slots V bytes apart";
  return nullptr;
}

OPSWAP_SM90(interleave_values) {
  const Tensor &plain = a.inverse ? a.out : a.input, &interleaved = a.inverse ? a.input : a.out;
  const int64_t runs = a.BS / kInterleaved, quads = a.V / kFeatures, all = a.NB * a.KH * runs * quads;
  if (!all) return OPSWAP_OK;
  const InterleavePages pages{plain.as<uint8_t>(),
                              interleaved.as<uint8_t>(),
                              plain.stride[0],
                              plain.stride[1],
                              plain.stride[2],
                              interleaved.stride[0],
                              interleaved.stride[1],
                              all,
                              a.KH,
                              runs,
                              a.BS,
                              quads};
  const int64_t blocks = ceil_div<int64_t>(all, kInterleaveThreads);
  const Geometry geometry{.grid = {std::min(blocks, sms_of(exec) * 16)}, .block = {kInterleaveThreads}, .pdl = true};
  return a.inverse ? launch(exec, "interleave_kernel", interleave_kernel<true>, geometry, pages)
                   : launch(exec, "interleave_kernel", interleave_kernel<false>, geometry, pages);
}

}  // namespace opswap::OPSWAP_PASS
