// moe_permute on sm_90a: rows of tokens, one per chosen expert, ordered by expert. One launch: each block finds the
// rows of its tokens, reads each token once and writes it to all of them.
#include "moe_permute.gen.h"

#include "common/device/permute.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeld = 4;  // words of a thread that are on their way at once
constexpr int64_t kThreads = 512, kBlocksPerSm = 2;

// A token is x threads'; y tokens are on their way at once.
// sass moe_expand_kernel<uint4>: LDG.128 STG.128
template <class Word>
__global__ void __launch_bounds__(kThreads) moe_expand_kernel(Word *permuted,     // [R, words]
                                                              const Word *input,  // [tokens, words]
                                                              const __grid_constant__ Permutation p, int64_t words,
                                                              int64_t permuted_stride, int64_t input_stride) {
  OPSWAP_SHARED(Sorting, memory);
  dependency_wait();
  dependency_trigger();
  Sorted sorted(p, memory);
  sorted.sort();
  const int64_t lanes = int64_t(blockDim.x) * gridDim.y;
  for (int from = sorted.begin; from < sorted.end; from += p.listed) {
    const int to = from + p.listed < sorted.end ? from + p.listed : sorted.end;
    sorted.list(from, to);
    for (int t = from + int(threadIdx.y); t < to; t += int(blockDim.y)) {
      const int places = (t - from) * p.choices;
      for (int64_t first = blockIdx.y * blockDim.x + threadIdx.x; first < words; first += kHeld * lanes) {
        Vec<Word, 1> x[kHeld];
#pragma unroll
        for (int i = 0; i < kHeld; ++i)
          if (first + i * lanes < words) x[i] = load<1>(input + t * input_stride + first + i * lanes);
        for (int k = 0; k < p.choices; ++k) {
          const int64_t row = sorted.place(places + k).row;
          if (row < 0) continue;
          Word *to_row = permuted + row * permuted_stride + first;
#pragma unroll
          for (int i = 0; i < kHeld; ++i)
            if (first + i * lanes < words) store(to_row + i * lanes, x[i]);
        }
      }
    }
  }
}

OPSWAP_SM90_CAN(moe_permute) { return permutation_refusal(a); }

OPSWAP_SM90(moe_permute) {
  constexpr int64_t kElement = sizeof(Scalar);
  const int64_t word = widest_access({placement(a.permuted), placement(a.input), a.H * kElement});
  return with_word(word, [&]<class Word>(Word) {
    const int64_t words = a.H * kElement / word;
    Geometry geometry = token_geometry(exec, a.T, words, kHeld);
    if (a.T >= sms_of(exec)) {  // few large blocks, since each counts choices
      geometry.block.y = kThreads / geometry.block.x;
      geometry.grid.x = std::min(a.T, kBlocksPerSm * sms_of(exec));
    }
    const Permutation p = permutation_of(a, geometry);
    return launch(exec, "moe_expand_kernel", moe_expand_kernel<Word>, geometry, a.permuted.as<Word>(),
                  a.input.as<Word>(), p, words, a.permuted.stride[0] * kElement / word,
                  a.input.stride[0] * kElement / word);
  });
}

}  // namespace opswap::OPSWAP_PASS
