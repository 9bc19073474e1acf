// select on sm_90a: rows of a tensor by number, -1 for zeros. One kernel that copies rows.
#include "select.gen.h"

#include "common/device/copy_rows.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

// sass select_kernel<uint4>: LDG.128 STG=128
template <class Word>
__global__ void __launch_bounds__(kCopyThreads)
    select_kernel(Word *out,          // [rows, words]
                  const Word *input,  // [N, words]
                  Indices index,      // [rows], -1 for zeros
                  int64_t rows, int64_t words, int64_t out_stride, int64_t input_stride) {
  dependency_wait();
  dependency_trigger();
  copy_rows<Word>(rows, words, [&](int64_t row) {
    const int64_t chosen = index[row];
    return RowCopy<Word>{out + row * out_stride, chosen < 0 ? nullptr : input + chosen * input_stride};
  });
}

OPSWAP_SM90(select) {
  const int64_t element = dtype_bytes(a.scalar_dtype);
  const int64_t word = widest_access({placement(a.out), placement(a.input), a.D * element});
  return with_word(word, [&]<class Word>(Word) {
    const int64_t words = a.D * element / word;
    return launch(exec, "select_kernel", select_kernel<Word>, copy_geometry(exec, a.M, words, word), a.out.as<Word>(),
                  a.input.as<Word>(), indices_of(a.index), a.M, words, a.out.stride[0] * element / word,
                  a.input.stride[0] * element / word);
  });
}

}  // namespace opswap::OPSWAP_PASS
