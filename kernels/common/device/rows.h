// Rows that a block walks over: what norms, activations and quantisation share. A thread owns vectors of N elements, a
// block's width apart, and keeps the first ones of a row in registers in float32: 512 threads hold 16384 elements, and
// only what is longer is read again. Not `kWide`: elements go one by one, for odd lengths and places.
#pragma once

#include "common/device/access.h"
#include "common/device/rms.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap {

constexpr int kHeldElements = 32;
constexpr int kRowThreads = 512;
constexpr int64_t kLongestRow = int64_t{1} << 30;

inline const char *row_refusal(int64_t length) {
  return length > kLongestRow ? "it takes rows of at most 2^30 elements" : nullptr;
}

// A matrix of contiguous rows.
template <class T>
struct Rows {
  T *data;
  int64_t stride;
  OPSWAP_DEVICE T *operator[](int64_t row) const { return data + row * stride; }
};
template <class T>
Rows<T> rows_of(const Tensor &t) {
  return {t.as<T>(), t.stride[0]};
}

// A thread's part of a row of `length` elements.
template <int kWidth, bool kWideAccess>
struct Part {
  static constexpr int N = kWidth, kHeld = (kWideAccess ? kHeldElements : kHeldElements / 2) / N;
  static constexpr bool kWide = kWideAccess;
  using Floats = Vec<float, N>;
  struct Held {
    Floats at[kHeld];
  };

  int length;
  int step = int(blockDim.x) * N, first = int(threadIdx.x) * N;

  OPSWAP_DEVICE explicit Part(int n) : length(n) {}
  // Elements that the block holds.
  OPSWAP_DEVICE int kept() const { return length < kHeld * step ? length : kHeld * step; }

  // Elements from h on; beyond the row they are 0.
  template <class T>
  OPSWAP_DEVICE Vec<T, N> load(const T *row, int h) const {
    Vec<T, N> v = {};
    if constexpr (kWide) {
      if (h < length) v = opswap::load<N>(row + h);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (h + i < length) v[i] = opswap::load<1>(row + h + i)[0];
    }
    return v;
  }
  template <class T>
  OPSWAP_DEVICE void store(T *row, int h, const Vec<T, N> &v) const {
    if constexpr (kWide) {
      if (h < length) opswap::store(row + h, v);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (h + i < length) opswap::store(row + h + i, Vec<T, 1>{v[i]});
    }
  }

  // body(h, k) for the vectors in registers.
  template <class Body>
  OPSWAP_DEVICE void held(Body &&body) const {
#pragma unroll
    for (int k = 0; k < kHeld; ++k)
      if (k * step < length) body(first + k * step, k);
  }
  // What registers keep of row(h).
  template <class Row>
  OPSWAP_DEVICE Held hold(Row &&row) const {
    Held x;
    held([&](int h, int k) { x.at[k] = to_float(row(h)); });
    return x;
  }
  // body(h, k, floats) for every vector of the row, in all threads of the block, also beyond the row's end: those held,
  // then, with k = kHeld, those that row(h) has to give a second time.
  template <class Row, class Body>
  OPSWAP_DEVICE void each(const Held &x, Row &&row, Body &&body) const {
    held([&](int h, int k) { body(h, k, x.at[k]); });
    for (int h = first + kHeld * step; h - first < length; h += step) body(h, kHeld, to_float(row(h)));
  }
};

// Where the values per feature are kept: dynamic shared memory, which only wide accesses ask for.
template <class P, class T>
OPSWAP_DEVICE T *features_memory() {
  if constexpr (P::kWide) {
    OPSWAP_SMEM(unsigned char, memory);
    return reinterpret_cast<T *>(&memory);
  } else {
    return nullptr;
  }
}

// A value per feature, such as a norm's weight. With wide accesses a block reads the held ones once for all its rows
// and keeps them in shared memory, where each thread reads what it wrote itself: registers are for the rows.
template <class P, class T>
struct PerFeature {
  const P &part;
  const T *data;  // null: `missing` stands for each
  T *kept;        // as many elements as the block holds
  float missing;

  OPSWAP_DEVICE PerFeature(const P &p, const T *from, float instead, T *memory)
      : part(p), data(from), kept(memory), missing(instead) {
    if (P::kWide && data)
      part.held([&](int h, int) {
        if (h < part.length) store_shared(kept + h, part.load(data, h));
      });
  }
  OPSWAP_DEVICE typename P::Floats operator()(int h, int k) const {
    typename P::Floats v;
#pragma unroll
    for (int i = 0; i < P::N; ++i) v[i] = missing;
    if (!data || h >= part.length) return v;
    return to_float(P::kWide && k < P::kHeld ? load_shared<P::N>(kept + h) : part.load(data, h));
  }
};

// Shared memory for reductions of a block one behind the other: two in turn, so that each needs a single barrier.
struct Reductions {
  float partial[2][device::kWarp];
};
class Reducer {
 public:
  OPSWAP_DEVICE explicit Reducer(Reductions &memory) : memory_(memory) {}
  template <class Fold>
  OPSWAP_DEVICE float operator()(float x, Fold fold) {
    turn_ ^= 1;
    return block_reduce(x, fold, memory_.partial[turn_]);
  }

 private:
  Reductions &memory_;
  int turn_ = 0;
};

template <class P, class Row>
OPSWAP_DEVICE RowScale inverse_rms(const P &part, const typename P::Held &x, Row &&row, float epsilon,
                                   Reducer &reduce) {
  return inverse_rms(part.length, epsilon, [&](float factor) {
    float sum = 0;
    part.each(x, row, [&](int, int, const typename P::Floats &v) { sum += sum_of_squares(v, factor); });
    return reduce(sum, Sum{});
  });
}

// A block per row where there are few, with a vector per thread; otherwise blocks that walk, with as many vectors per
// thread as registers hold, since several loads of a thread in flight are what keeps memory busy. Shared memory is for
// `kept` bytes of each feature that a block holds.
template <class P>
Geometry row_geometry(const opswap_exec &exec, int64_t rows, int64_t length, size_t kept = 0) {
  constexpr int64_t kThreadsPerSm = 1024, kMostBlocksPerSm = 32;
  const int64_t sms = device::sms_of(exec), vectors = std::max<int64_t>(device::ceil_div<int64_t>(length, P::N), 1);
  const int64_t share = rows > 2 * sms ? device::ceil_div<int64_t>(vectors, P::kHeld) : vectors;
  const int64_t threads = std::min<int64_t>(kRowThreads, device::round_up<int64_t>(share, device::kWarp));
  const size_t held = P::kWide ? size_t(std::clamp<int64_t>(length, 1, threads * kHeldElements)) : 0;
  return {.grid = {std::min(rows, sms * std::min(kThreadsPerSm / threads, kMostBlocksPerSm))},
          .block = {threads},
          .smem = held * kept,
          .pdl = true};
}

// body(Part type) for the accesses that fit the length and all tensors.
template <class T, class Body>
opswap_status with_part(int64_t length, std::initializer_list<const Tensor *> tensors, Body &&body) {
  constexpr int N = int(device::kWidest / int64_t(sizeof(T)));
  bool wide = length % N == 0;
  for (const Tensor *t : tensors) wide = wide && device::fits(*t, N);
  return wide ? body.template operator()<Part<N, true>>() : body.template operator()<Part<N, false>>();
}

}  // namespace opswap
