// moe_permute on sm_90a: rows of tokens, one per chosen expert, ordered by expert. The order first, then a kernel that
// reads each token once and writes it to all of its places.
#include "moe_permute.gen.h"

#include "common/device/permute.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeld = 4;  // words of a thread that are on their way at once

// A token's row is read once and written to all of its places, which the block's first warp finds.
// sass moe_expand_kernel<uint4>: LDG.128 STG.128
template <class Word>
__global__ void __launch_bounds__(256) moe_expand_kernel(Word *permuted,     // [R, words]
                                                         const Word *input,  // [tokens, words]
                                                         const __grid_constant__ Permutation p, int64_t tokens,
                                                         int64_t words, int64_t permuted_stride, int64_t input_stride) {
  OPSWAP_SHARED(int64_t[kWarp], rows);
  dependency_wait();
  dependency_trigger();
  const Few few(p);
  const int64_t lanes = int64_t(blockDim.x) * gridDim.y;
  for (int64_t t = blockIdx.x; t < tokens; t += gridDim.x)
    for (int64_t begin = 0; begin < p.choices; begin += kWarp) {
      const int count = list_rows(p, few, t, begin, blockIdx.y == 0, rows);
      for (int64_t first = blockIdx.y * blockDim.x + threadIdx.x; first < words; first += kHeld * lanes) {
        Vec<Word, 1> x[kHeld];
#pragma unroll
        for (int i = 0; i < kHeld; ++i)
          if (first + i * lanes < words) x[i] = load<1>(input + t * input_stride + first + i * lanes);
        for (int k = 0; k < count; ++k) {
          const int64_t row = load_shared<1>(rows + k)[0];
          if (row < 0) continue;
          Word *to = permuted + row * permuted_stride + first;
#pragma unroll
          for (int i = 0; i < kHeld; ++i)
            if (first + i * lanes < words) store(to + i * lanes, x[i]);
        }
      }
    }
}

OPSWAP_SM90_CAN(moe_permute) { return permutation_refusal(a); }
OPSWAP_SM90_WORKSPACE(moe_permute) { return size_t(permutation_bytes(a)); }

OPSWAP_SM90(moe_permute) {
  Permutation p;
  if (opswap_status e = order_by_expert(a, exec, p)) return e;
  constexpr int64_t kElement = sizeof(Scalar);
  const int64_t word = widest_access({placement(a.permuted), placement(a.input), a.H * kElement});
  return with_word(word, [&]<class Word>(Word) {
    const int64_t words = a.H * kElement / word;
    Geometry geometry = token_geometry(exec, a.T, words, kHeld);
    geometry.smem = p.memory();
    return launch(exec, "moe_expand_kernel", moe_expand_kernel<Word>, geometry, a.permuted.as<Word>(),
                  a.input.as<Word>(), p, a.T, words, a.permuted.stride[0] * kElement / word,
                  a.input.stride[0] * kElement / word);
  });
}

}  // namespace opswap::OPSWAP_PASS
