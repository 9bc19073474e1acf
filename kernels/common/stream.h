// Stores that go past the caches: for outputs so large that no cache would keep them for who reads them next. A plain
// store first reads the line that it overwrites; these do not, and leave the caches to others.
#pragma once

#include "common/op.h"
#include "common/rows.h"

namespace opswap::OPSWAP_ISA {

constexpr int64_t kCacheBytes = 32 << 20;  // the L3 that a core of today's servers shares

// An element of an output that is streamed: `store` of it writes past the caches. Rows begin on whole vectors.
template <class E>
struct streamed {
  E value;
};

#if defined(__AVX512F__) || defined(__AVX2__)
template <class E>
inline void store(streamed<E> *p, vf v) {
  alignas(sizeof(vf)) E part[kLanes];
  store(part, v);
#if defined(__AVX512F__)
  if constexpr (sizeof part == 64)
    _mm512_stream_si512(reinterpret_cast<__m512i *>(p), _mm512_load_si512(part));
  else
#endif
      if constexpr (sizeof part == 32)
    _mm256_stream_si256(reinterpret_cast<__m256i *>(p), _mm256_load_si256(reinterpret_cast<const __m256i *>(part)));
  else
    _mm_stream_si128(reinterpret_cast<__m128i *>(p), _mm_load_si128(reinterpret_cast<const __m128i *>(part)));
}
// Streamed stores are ordered with nothing: a task that made some calls this before it reports that it is done.
inline void stream_end() { _mm_sfence(); }
constexpr bool kStreams = true;
#else
template <class E>
inline void store(streamed<E> *p, vf v) {
  store(&p->value, v);
}
inline void stream_end() {}
constexpr bool kStreams = false;
#endif
template <class E>
inline void store_tail(streamed<E> *p, vf v, int64_t n) {
  store_tail(&p->value, v, n);
}

inline bool rows_on_vectors(const Tensor &t, int64_t elements) {
  const int64_t bytes = dtype_bytes(t.dtype);
  return (reinterpret_cast<uintptr_t>(t.data) | uintptr_t(t.stride[0] * bytes)) % uintptr_t(elements * bytes) == 0;
}

// Whether what is written first has left the caches once all of `out`, and `read` bytes for it, have passed; it is
// written by this many elements at once.
inline bool outgrows_caches(const Tensor &out, int64_t read, int64_t elements = kLanes) {
  return kStreams && out.bytes + read >= kCacheBytes && rows_on_vectors(out, elements);
}

// body(row t of `out`, t) for every row, in tasks of `grain` rows; `store` picks how by the type of the pointer.
template <class E, class Body>
inline void for_output_rows(const Tensor &out, int64_t rows, int64_t grain, bool streams, Body &&body) {
  if (streams)
    return parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) body(row<streamed<E>>(out, t), t);
      stream_end();
    });
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(row<E>(out, t), t);
  });
}
// The same for an input as large as the output.
template <class E, class Body>
inline void for_output_rows(const Tensor &out, int64_t rows, int64_t grain, Body &&body) {
  for_output_rows<E>(out, rows, grain, outgrows_caches(out, out.bytes), body);
}

}  // namespace opswap::OPSWAP_ISA
