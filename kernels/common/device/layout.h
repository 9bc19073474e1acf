// The layout layer: where the elements of a tile lie and which thread holds which, said once as data instead of as
// arithmetic in every kernel. The algebra is that of CuTe's layouts without nesting, evaluated by the compiler; what a
// kernel calls is shifts and adds of constants.
#pragma once

#include <initializer_list>
#include <utility>

#include "common/sm90/platform.h"

namespace opswap {

// Up to eight modes, each an extent and a stride; the first changes fastest.
struct Modes {
  static constexpr int kMost = 8;
  int rank = 0, shape[kMost]{}, stride[kMost]{};

  constexpr int size() const {
    int n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  // One more than the largest index; strides are not negative.
  constexpr int cosize() const {
    int last = 0;
    for (int i = 0; i < rank; ++i) last += (shape[i] - 1) * stride[i];
    return last + 1;
  }
  constexpr int operator[](int number) const {
    int index = 0;
    for (int i = 0; i < rank; number /= shape[i++]) index += number % shape[i] * stride[i];
    return index;
  }
  constexpr void add(int extent, int step) {
    if (rank == kMost) throw "more than eight modes";
    shape[rank] = extent, stride[rank++] = step;
  }
  constexpr bool operator==(const Modes &) const = default;
};

consteval Modes modes(std::initializer_list<int> shape, std::initializer_list<int> stride) {
  if (shape.size() != stride.size()) throw "as many strides as extents";
  Modes m;
  for (auto s = shape.begin(), d = stride.begin(); s != shape.end(); ++s, ++d) m.add(*s, *d);
  return m;
}
consteval Modes row_major(int rows, int columns) { return modes({rows, columns}, {columns, 1}); }
consteval Modes column_major(int rows, int columns) { return modes({rows, columns}, {1, rows}); }

// The same indices with as few modes as can be.
consteval Modes coalesce(const Modes &m) {
  Modes out;
  for (int i = 0; i < m.rank; ++i) {
    if (m.shape[i] == 1) continue;
    if (const int last = out.rank - 1; last >= 0 && m.stride[i] == out.shape[last] * out.stride[last])
      out.shape[last] *= m.shape[i];
    else
      out.add(m.shape[i], m.stride[i]);
  }
  if (!out.rank) out.add(1, 0);
  return out;
}

// outer[inner[i]] as a layout of i. Does not compile where the extents do not divide each other.
consteval Modes compose(const Modes &outer, const Modes &inner) {
  const Modes of = coalesce(outer);
  Modes out;
  for (int i = 0; i < inner.rank; ++i) {
    int skip = inner.stride[i], left = inner.shape[i];
    if (!skip) {
      out.add(left, 0);
      continue;
    }
    for (int k = 0; k < of.rank && left > 1; ++k) {
      const bool last = k + 1 == of.rank;
      if (!last && skip >= of.shape[k]) {
        if (skip % of.shape[k]) throw "a stride of the inner layout does not divide by the outer extent";
        skip /= of.shape[k];
        continue;
      }
      if (!last && of.shape[k] % skip) throw "an extent of the outer layout does not divide by the inner stride";
      const int room = last ? left : of.shape[k] / skip, take = left < room ? left : room;
      if (left % take) throw "an extent of the inner layout does not divide by the outer one";
      out.add(take, of.stride[k] * skip);
      left /= take, skip = 1;
    }
  }
  return coalesce(out);
}

// Each mode in tiles: the modes inside of a tile, then those from tile to tile.
consteval Modes tile(const Modes &m, std::initializer_list<int> extents) {
  if (int(extents.size()) != m.rank) throw "as many tile extents as modes";
  Modes out;
  for (int i = 0; i < m.rank; ++i) out.add(extents.begin()[i], m.stride[i]);
  for (int i = 0; i < m.rank; ++i) {
    if (m.shape[i] % extents.begin()[i]) throw "a tile that does not divide its mode";
    out.add(m.shape[i] / extents.begin()[i], m.stride[i] * extents.begin()[i]);
  }
  return out;
}

// Of indices row + `rows` * column: what a mode adds to the row, or to the column.
consteval Modes rows_of(Modes m, int rows) {
  for (int i = 0; i < m.rank; ++i) m.stride[i] %= rows;
  return m;
}
consteval Modes columns_of(Modes m, int rows) {
  for (int i = 0; i < m.rank; ++i) m.stride[i] /= rows;
  return m;
}

// What a kernel uses of `M`.
template <Modes M>
struct Layout {
  static constexpr int kRank = M.rank, kSize = M.size(), kCosize = M.cosize();

  // The index of a coordinate in each mode.
  template <class... I>
  __host__ __device__ static constexpr int at(I... coordinate) {
    static_assert(sizeof...(I) == kRank, "a coordinate for each mode");
    return add(std::make_index_sequence<sizeof...(I)>(), int(coordinate)...);
  }
  // The index of element `number`, less than kSize, where the first mode changes fastest.
  __host__ __device__ static constexpr int of(int number) { return split(std::make_index_sequence<kRank>(), number); }

 private:
  template <int I>
  static constexpr int kStride = M.stride[I];
  template <int I>
  static constexpr int kBefore = [] {
    int n = 1;
    for (int i = 0; i < I; ++i) n *= M.shape[i];
    return n;
  }();
  template <size_t... K, class... I>
  __host__ __device__ static constexpr int add(std::index_sequence<K...>, I... coordinate) {
    return (0 + ... + (coordinate * kStride<int(K)>));
  }
  template <int I>
  __host__ __device__ static constexpr int digit(int number) {
    if constexpr (I == kRank - 1) return number / kBefore<I>;
    constexpr int kShape = M.shape[I];
    return number / kBefore<I> % kShape;
  }
  template <size_t... K>
  __host__ __device__ static constexpr int split(std::index_sequence<K...>, int number) {
    return (0 + ... + (digit<int(K)>(number) * kStride<int(K)>));
  }
};

// Which element of a tile of `Rows` rows thread t holds as its value v: both layouts give row + Rows * column.
template <Modes Threads, Modes Values, int Rows>
struct Fragment {
  static constexpr int kThreads = Threads.size(), kValues = Values.size();
  __host__ __device__ static constexpr int row(int thread, int value) {
    return Layout<rows_of(Threads, Rows)>::of(thread) + Layout<rows_of(Values, Rows)>::of(value);
  }
  __host__ __device__ static constexpr int column(int thread, int value) {
    return Layout<columns_of(Threads, Rows)>::of(thread) + Layout<columns_of(Values, Rows)>::of(value);
  }
};

// The accumulators of a wgmma of N columns.
template <int N>
using Accumulator = Fragment<modes({4, 8, 4}, {2 * 64, 1, 16}), modes({2, 2, N / 8}, {64, 8, 8 * 64}), 64>;

// A tile that is read by rows: `N` elements of a row are one access, neighbouring threads take neighbouring accesses.
template <int Rows, int Columns, int Threads, int N, int Across = Columns / N, int Down = Threads / Across>
using RowTile = Fragment<modes({Across, Down}, {Rows * N, 1}), modes({N, Rows / Down}, {Rows, Down}), Rows>;

// Where TMA and wgmma put byte `byte` of shared memory whose rows are `Bytes` wide: 16 is no swizzle.
template <int Bytes>
struct Swizzle {
  static_assert(Bytes == 16 || Bytes == 32 || Bytes == 64 || Bytes == 128, "a swizzle is 32, 64 or 128 bytes wide");
  __host__ __device__ static constexpr int of(int byte) { return byte ^ (byte >> 3 & (Bytes / 16 - 1) << 4); }
};

}  // namespace opswap
