// Tensor maps: 128 bytes that tell the copy unit a tensor's shape, strides, box and swizzle. Made on the host.
#pragma once

#include "common/sm90/platform.h"

namespace opswap::sm90 {

enum class MapType { u8, u16, u32, i32, f16, f32, bf16 };
enum class MapSwizzle { none, b32, b64, b128 };
enum class MapPromotion { none, b64, b128, b256 };  // bytes that L2 fetches at least for a box

struct TensorMapSpec {
  MapType type{};
  int rank = 0;
  const void *address = nullptr;  // 16-byte aligned
  uint64_t shape[5]{};            // elements, the contiguous dimension first
  uint64_t stride[4]{};           // bytes of dimensions 1 and up, multiples of 16
  uint32_t box[5]{};              // elements that one copy moves
  MapSwizzle swizzle = MapSwizzle::none;
  MapPromotion promotion = MapPromotion::b128;
};

#ifdef OPSWAP_EMULATE

using TensorMap = emu::TensorMap;

// nullptr, or why there is no such map.
inline const char *encode(TensorMap &map, const TensorMapSpec &s) {
  return emu::encode(map, {int(s.type), s.rank, s.address, s.shape, s.stride, s.box, int(s.swizzle), int(s.promotion)});
}

#else

using TensorMap = CUtensorMap;

inline const char *encode(TensorMap &map, const TensorMapSpec &s) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const auto [function, found] = [] {
    void *address = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address, 12000, cudaEnableDefault, &result);
    return std::pair{reinterpret_cast<Encode>(address), error == cudaSuccess && result == cudaDriverEntryPointSuccess};
  }();
  if (!found) return "the driver has no cuTensorMapEncodeTiled: it is missing or older than 12.0";
  constexpr CUtensorMapDataType kTypes[] = {CU_TENSOR_MAP_DATA_TYPE_UINT8,   CU_TENSOR_MAP_DATA_TYPE_UINT16,
                                            CU_TENSOR_MAP_DATA_TYPE_UINT32,  CU_TENSOR_MAP_DATA_TYPE_INT32,
                                            CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
                                            CU_TENSOR_MAP_DATA_TYPE_BFLOAT16};
  constexpr CUtensorMapSwizzle kSwizzles[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B,
                                              CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_SWIZZLE_128B};
  constexpr CUtensorMapL2promotion kPromotions[] = {CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
                                                    CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B};
  constexpr cuuint32_t kDense[] = {1, 1, 1, 1, 1};
  const auto *shape = reinterpret_cast<const cuuint64_t *>(s.shape);
  const auto *stride = reinterpret_cast<const cuuint64_t *>(s.stride);
  const CUresult result = function(&map, kTypes[int(s.type)], cuuint32_t(s.rank), const_cast<void *>(s.address), shape,
                                   stride, s.box, kDense, CU_TENSOR_MAP_INTERLEAVE_NONE, kSwizzles[int(s.swizzle)],
                                   kPromotions[int(s.promotion)], CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? nullptr : "cuTensorMapEncodeTiled refuses these shapes, strides, box or swizzle";
}

#endif

}  // namespace opswap::sm90
