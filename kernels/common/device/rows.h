// Rows that blocks walk over: what norms, activations and quantisation share. A row belongs to blockDim.x threads: to a
// power of two of a warp's lanes, and then a block has several rows side by side, or to whole warps. Each owns vectors
// of N elements, as far apart as they are wide together, and keeps four of them in registers in float32; a longer row
// goes through them in pieces. Four loads are under way before the first is used. Not `kWide`: elements go one by one,
// for odd lengths and places.
#pragma once

#include <utility>

#include "common/device/access.h"
#include "common/device/rms.h"
#include "common/sm90/pdl.h"
#include "common/sm90/room.h"

namespace opswap::OPSWAP_PASS {

constexpr int kHeldVectors = 4;
constexpr int kLoadsAtOnce = 4;  // 64 bytes of a thread under way
// Most threads of a block, of which an SM has two. That leaves 64 registers to each and, where a row is not all that
// they hold, 80.
constexpr int kRowThreads = 512, kFullRowThreads = 384;
constexpr int kRowBlocksPerSm = 2;
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

// A vector of each of two tensors, or of two halves of a row.
template <class T, int N>
struct Two {
  Vec<T, N> first, second;
};

// What a load gave, and what is made of it once the loads behind it are under way too.
template <class T, class Make>
struct Later {
  T loaded;
  Make make;
};
template <class T, class Make>
OPSWAP_DEVICE Later<T, Make> later(const T &loaded, const Make &make) {
  return {loaded, make};
}
using opswap::to_float;
template <class T, class Make>
OPSWAP_DEVICE auto to_float(const Later<T, Make> &l) {
  return l.make(l.loaded);
}

// Loads that give a T.
template <class T>
constexpr int kLoadsOf = 1;
template <class T, int N>
constexpr int kLoadsOf<Two<T, N>> = 2;
template <class T, class Make>
constexpr int kLoadsOf<Later<T, Make>> = kLoadsOf<T>;

// A thread's part of a row of `length` elements; where there is no such row it loads zeros and stores nothing.
template <int kWidth, bool kWideAccess>
struct Part {
  static constexpr int N = kWidth, kHeld = kWideAccess ? kHeldVectors : kHeldVectors / 2;
  static constexpr bool kWide = kWideAccess;
  using Floats = Vec<float, N>;
  // What registers hold: the piece of the row that starts at `begin`.
  struct Held {
    Floats at[kHeld];
    int begin = 0;
  };

  int length, end;  // end: of what there is to access, less than 0 where there is no such row
  int step = int(blockDim.x) * N, first = int(threadIdx.x) * N;

  OPSWAP_DEVICE explicit Part(int n, bool row = true) : length(n), end(row ? n : -1) {}
  OPSWAP_DEVICE bool exists() const { return end >= 0; }
  OPSWAP_DEVICE int piece() const { return kHeld * step; }
  OPSWAP_DEVICE int kept() const { return length < piece() ? length : piece(); }  // of the first piece

  // Elements from h on; beyond the row they are 0.
  template <class T>
  OPSWAP_DEVICE Vec<T, N> load(const T *row, int h) const {
    Vec<T, N> v = {};
    if constexpr (kWide) {
      if (h < end) v = opswap::load<N>(row + h);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (h + i < end) v[i] = opswap::load<1>(row + h + i)[0];
    }
    return v;
  }
  template <class T>
  OPSWAP_DEVICE void store(T *row, int h, const Vec<T, N> &v) const {
    if constexpr (kWide) {
      if (h < end) opswap::store(row + h, v);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (h + i < end) opswap::store(row + h + i, Vec<T, 1>{v[i]});
    }
  }

  // use(k, what row(h) loads) for the vectors k of the piece at `begin`, loads first.
  template <class Row, class Use>
  OPSWAP_DEVICE void loads(int begin, Row &&row, Use &&use) const {
    constexpr int kMost = kLoadsAtOnce / kLoadsOf<decltype(row(0))>, kAtOnce = kHeld < kMost ? kHeld : kMost;
#pragma unroll
    for (int from = 0; from < kHeld; from += kAtOnce) {
      if (from) __syncwarp();  // so that no load is moved ahead of it, which takes registers
      [&]<int... k>(std::integer_sequence<int, k...>) {
        const decltype(row(0)) loaded[] = {row(begin + first + (from + k) * step)...};
        (use(from + k, loaded[k]), ...);
      }(std::make_integer_sequence<int, kAtOnce>{});
    }
  }
  // The piece of row(h) at `begin` in registers.
  template <class Row>
  OPSWAP_DEVICE void hold(Held &x, Row &&row, int begin) const {
    x.begin = begin;
    loads(begin, row, [&](int k, const auto &loaded) { x.at[k] = to_float(loaded); });
  }
  template <class Row>
  OPSWAP_DEVICE Held hold(Row &&row) const {
    Held x;
    hold(x, row, 0);
    return x;
  }
  // body(h, floats) for the vectors in registers.
  template <class Body>
  OPSWAP_DEVICE void held(Held &x, Body &&body) const {
#pragma unroll
    for (int k = 0; k < kHeld; ++k)
      if (x.begin + k * step < length) body(x.begin + first + k * step, x.at[k]);
  }
  // body(h, kept, floats) for every vector of the row, in all threads of the block, also beyond the row's end; `kept`:
  // it is of the first piece. It starts with the piece that is held, at one end of the row, and holds that at the other
  // end when it is done: where one piece is all, row(h) is not asked.
  template <class Row, class Body>
  OPSWAP_DEVICE void each(Held &x, Row &&row, Body &&body) const {
    const bool up = x.begin == 0;
#pragma unroll 1
    for (;;) {
      held(x, [&](int h, const Floats &v) { body(h, x.begin == 0, v); });
      const int next = up ? x.begin + piece() : x.begin - piece();
      if (next < 0 || next >= length) return;
      hold(x, row, next);
    }
  }
};

// body(t, part) for the rows that are this thread's, in all threads of the block as long as one of them has a row.
template <class P, class Body>
OPSWAP_DEVICE void each_row(int64_t rows, int length, Body &&body) {
#pragma unroll 1
  for (int64_t t = int64_t(blockIdx.x) * blockDim.y + threadIdx.y; t - threadIdx.y < rows;
       t += int64_t(gridDim.x) * blockDim.y)
    body(t, P(length, t < rows));
}

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

// A value per feature, such as a norm's weight. With wide accesses a block reads those of the first piece once for all
// its rows and keeps them in shared memory: registers are for the rows.
template <class P, class T>
struct PerFeature {
  const P &part;
  const T *data;  // null: `missing` stands for each
  T *kept;        // as many elements as the block holds
  float missing;

  OPSWAP_DEVICE PerFeature(const P &p, const T *from, float instead, T *memory)
      : part(p), data(from), kept(memory), missing(instead) {
    if (!P::kWide || !data) return;
    if (threadIdx.y == 0)
      part.loads(
          0, [&](int h) { return part.load(data, h); },
          [&](int k, const Vec<T, P::N> &v) {
            const int h = part.first + k * part.step;
            if (h < part.length) store_shared(kept + h, v);
          });
    if (blockDim.y > 1) __syncthreads();  // otherwise each thread reads what it wrote itself
  }
  OPSWAP_DEVICE typename P::Floats operator()(int h, bool first) const {
    typename P::Floats v;
#pragma unroll
    for (int i = 0; i < P::N; ++i) v[i] = missing;
    if (!data || h >= part.length) return v;
    return to_float(P::kWide && first ? load_shared<P::N>(kept + h) : part.load(data, h));
  }
};

// Shared memory for reductions over rows one behind the other: two in turn, so that each needs a single barrier, and
// none where a row is a warp's.
struct Reductions {
  float partial[2][device::kWarp];
};
class Reducer {
 public:
  OPSWAP_DEVICE explicit Reducer(Reductions &memory) : memory_(memory) {}
  template <class Fold>
  OPSWAP_DEVICE float operator()(float x, Fold fold) {
    if (blockDim.x <= device::kWarp) return warp_reduce(x, fold, int(blockDim.x));
    turn_ ^= 1;
    return block_reduce(x, fold, memory_.partial[turn_]);
  }

 private:
  Reductions &memory_;
  int turn_ = 0;
};

// Whether one of the rows of a warp asks: what they reduce, they reduce together.
struct AnyOfWarp {
  OPSWAP_DEVICE bool operator()(bool asks) const { return __any_sync(device::kAllLanes, asks); }
};

template <class P, class Row>
OPSWAP_DEVICE RowScale inverse_rms(const P &part, typename P::Held &x, Row &&row, float epsilon, Reducer &reduce) {
  const auto squares = [&](float factor) {
    float sum = 0;
    part.each(x, row, [&](int, bool, const typename P::Floats &v) { sum += sum_of_squares(v, factor); });
    return reduce(sum, Sum{});
  };
  return opswap::inverse_rms(part.length, epsilon, squares, AnyOfWarp{});
}

// Few rows: a vector per thread. Many: threads with as many vectors as registers hold, since loads under way are what
// keeps memory busy; rows of a warp or less share a block, which then reads the values per feature once for them, as
// long as each SM has two blocks. `kept` bytes of shared memory are for each feature that a row's threads hold; no row
// has fewer threads than `least`.
template <class P, int kMostThreads = kRowThreads>
Geometry row_geometry(const opswap_exec &exec, int64_t rows, int64_t length, size_t kept = 0, int64_t least = 1) {
  using device::kWarp, device::power_of_two, device::ceil_div;
  constexpr int64_t kMostBlocksPerSm = 32, kSharedThreads = 256;
  const int64_t sms = device::sms_of(exec), vectors = std::max<int64_t>(ceil_div<int64_t>(length, P::N), 1);
  const int64_t share = rows > 2 * sms ? ceil_div<int64_t>(vectors, P::kHeld) : vectors;
  const int64_t lanes = share > kWarp ? std::min<int64_t>(kMostThreads, device::round_up<int64_t>(share, kWarp))
                                      : std::max(power_of_two(share), least);
  const int64_t side = int64_t(std::bit_floor(uint64_t(rows / (2 * sms))));
  const int64_t high = lanes > kWarp ? 1 : std::clamp<int64_t>(side, kWarp / lanes, kSharedThreads / lanes);
  const int64_t each = std::min(kRowBlocksPerSm * kMostThreads / (lanes * high), kMostBlocksPerSm);
  const size_t held = P::kWide ? size_t(std::clamp<int64_t>(length, 1, lanes * P::kHeld * P::N)) : 0;
  return {
      .grid = {std::min(ceil_div(rows, high), sms * each)}, .block = {lanes, high}, .smem = held * kept, .pdl = true};
}

// body(Part type) for the accesses that fit the length and all tensors.
template <class T, class Body>
opswap_status with_part(int64_t length, std::initializer_list<const Tensor *> tensors, Body &&body) {
  constexpr int N = int(device::kWidest / int64_t(sizeof(T)));
  bool wide = length % N == 0;
  for (const Tensor *t : tensors) wide = wide && device::fits(*t, N);
  return wide ? body.template operator()<Part<N, true>>() : body.template operator()<Part<N, false>>();
}

}  // namespace opswap::OPSWAP_PASS
