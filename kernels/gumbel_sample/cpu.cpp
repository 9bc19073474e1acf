// gumbel_sample on a CPU: one token of each row, drawn by Gumbel noise that its seed gives. The argmax of logits plus
// Philox noise made on the way.
#include "gumbel_sample.gen.h"

#include <cmath>

#include "common/argmax.h"
#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

// Philox4x32-10 constants (Salmon et al. 2011).
constexpr uint32_t kM0 = 0xD2511F53, kM1 = 0xCD9E8D57, kW0 = 0x9E3779B9, kW1 = 0xBB67AE85;
constexpr int kRounds = 10, kBlock = 64, kCounters = 16;  // 16 counters give the noise of 64 columns

typedef uint64_t vul __attribute__((vector_size(kLanes * 8)));

template <class Word, class Wide>
static void philox(Word c[4], uint32_t k0, uint32_t k1, Wide (*widen)(Word), Word (*high)(Wide), Word (*low)(Wide)) {
  for (int r = 0; r < kRounds; ++r, k0 += kW0, k1 += kW1) {
    const Wide p0 = widen(c[0]) * kM0, p1 = widen(c[2]) * kM1;
    const Word c1 = c[1], c3 = c[3];
    c[0] = high(p1) ^ c1 ^ k0;
    c[1] = low(p1);
    c[2] = high(p0) ^ c3 ^ k1;
    c[3] = low(p0);
  }
}

// Noise of the 64 columns of a block: column 16 w + i uses word w of counter 16 block + i.
static void noise_of_block(float *noise, int64_t block, uint64_t seed) {
  for (int i = 0; i < kCounters; i += kLanes) {
    vu lane = {};
    for (int l = 0; l < kLanes; ++l) lane[l] = uint32_t(l);
    vu c[4] = {lane + uint32_t(block * kCounters + i), vu{}, vu{}, vu{}};
    philox<vu, vul>(
        c, uint32_t(seed), uint32_t(seed >> 32), [](vu x) { return __builtin_convertvector(x, vul); },
        [](vul x) { return __builtin_convertvector(x >> 32, vu); },
        [](vul x) { return __builtin_convertvector(x, vu); });
    for (int w = 0; w < 4; ++w) {
      const vf u = (__builtin_convertvector((vi)(c[w] >> 9), vf) + 0.5f) * 0x1p-23f;
      store(noise + w * kCounters + i, -log(-log(u)));
    }
  }
}

static double noise_plain(int64_t column, uint64_t seed) {
  const int64_t within = column % kBlock;
  uint32_t c[4] = {uint32_t(column / kBlock * kCounters + within % kCounters), 0, 0, 0};
  philox<uint32_t, uint64_t>(
      c, uint32_t(seed), uint32_t(seed >> 32), [](uint32_t x) { return uint64_t(x); },
      [](uint64_t x) { return uint32_t(x >> 32); }, [](uint64_t x) { return uint32_t(x); });
  return -std::log(-std::log((double(c[within / kCounters] >> 9) + 0.5) / 8388608.0));
}

OPSWAP_REF(gumbel_sample) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    for (int64_t b = 0; b < a.B; ++b) {
      const E *x = row<E>(a.logits, b);
      const uint64_t seed = uint64_t(index_at(a.seeds, b));
      int64_t best = 0;
      double best_score = -INFINITY;  // which no NaN is above
      for (int64_t v = 0; v < a.V; ++v)
        if (const double score = to_float(x[v]) + noise_plain(v, seed); score > best_score) {
          best = v;
          best_score = score;
        }
      *row<int64_t>(a.token_ids, b) = best;
    }
    return opswap_status{OPSWAP_OK};
  });
}

// Scores of one row in ascending columns: logits plus the noise of the current block.
template <class E>
struct NoisyRow {
  const E *x;
  uint64_t seed;
  float noise[kBlock];

  vf operator()(int64_t v, int64_t left) {
    if (v % kBlock == 0) noise_of_block(noise, v / kBlock, seed);
    const vf logits = left ? load_tail(x + v, left, -__builtin_inff()) : load(x + v);
    return logits + load(noise + v % kBlock);
  }
};

OPSWAP_CPU(gumbel_sample) {
  return with_float_type(a.scalar_dtype, [&]<class E>(E) {
    return argmax_rows(a.token_ids, a.B, a.V,
                       [&](int64_t b) { return NoisyRow<E>{row<E>(a.logits, b), uint64_t(index_at(a.seeds, b)), {}}; });
  });
}

}  // namespace opswap::OPSWAP_ISA
