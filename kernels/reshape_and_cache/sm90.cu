// reshape_and_cache on sm_90a: each token's key and value into its slot of the paged cache. One kernel, which copies
// keys and values side by side.
#include "reshape_and_cache.gen.h"

#include "common/device/copy_rows.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

// Keys or values and where they go; strides count words.
template <class Word>
struct Heads {
  Word *cache;       // [NB, KH, BS, words]
  const Word *rows;  // [T, KH, words]
  int64_t words, block_stride, cache_head_stride, slot_stride, token_stride, head_stride;
};

// blockIdx.y 0 stores the keys, 1 the values.
// sass reshape_and_cache_kernel<uint4>: LDG.128 STG=128
template <class Word>
__global__ void __launch_bounds__(kCopyThreads)
    reshape_and_cache_kernel(const __grid_constant__ Heads<Word> keys, const __grid_constant__ Heads<Word> values,
                             Indices slots,  // [tokens], -1 skips
                             int64_t tokens, int64_t heads, int64_t block_size) {
  dependency_wait();
  dependency_trigger();
  const Heads<Word> &x = blockIdx.y ? values : keys;
  copy_rows<Word>(tokens * heads, x.words, [&](int64_t row) {
    const int64_t t = row / heads, h = row % heads, slot = slots[t];
    if (slot < 0) return RowCopy<Word>{};
    return RowCopy<Word>{
        x.cache + slot / block_size * x.block_stride + h * x.cache_head_stride + slot % block_size * x.slot_stride,
        x.rows + t * x.token_stride + h * x.head_stride};
  });
}

template <class Word>
Heads<Word> heads_of(const Tensor &cache, const Tensor &rows) {
  const auto words = [](int64_t elements) { return elements * int64_t(sizeof(Scalar)) / int64_t(sizeof(Word)); };
  return {cache.as<Word>(),       rows.as<Word>(),        words(rows.shape[2]),  words(cache.stride[0]),
          words(cache.stride[1]), words(cache.stride[2]), words(rows.stride[0]), words(rows.stride[1])};
}

OPSWAP_SM90(reshape_and_cache) {
  const int64_t word =
      widest_access({placement(a.key_cache), placement(a.value_cache), placement(a.key), placement(a.value),
                     a.D * int64_t(sizeof(Scalar)), a.V * int64_t(sizeof(Scalar))});
  return with_word(word, [&]<class Word>(Word) {
    const int64_t words = std::max(a.D, a.V) * int64_t(sizeof(Scalar)) / word;
    Geometry geometry = copy_geometry(exec, a.S * a.KH, words, word);
    geometry.grid.y = 2;
    return launch(exec, "reshape_and_cache_kernel", reshape_and_cache_kernel<Word>, geometry,
                  heads_of<Word>(a.key_cache, a.key), heads_of<Word>(a.value_cache, a.value),
                  indices_of(a.slot_mapping), a.S, a.KH, a.BS);
  });
}

}  // namespace opswap::OPSWAP_PASS
