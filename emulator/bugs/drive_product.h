// What drives of products have in common: operands, and out with room around it that belongs to others. Their kernels
// are made of the parts in common/device that a product room's are made of, with one tile each: all of a room's take
// minutes to compile.
#pragma once

#include "bugs/drive_room.h"
//
#include "common/device/product_kernel.h"

namespace opswap::emu::bugs {

// [rows, columns] of values that every type of a product holds exactly.
template <class T>
struct ProductRows {
  int64_t rows, columns;
  std::vector<T> data;
  DeviceTensor on_device;
  ProductRows(DType dtype, int64_t r, int64_t c, size_t salt)
      : rows(r), columns(c), data(size_t(r * c)), on_device(data.data(), dtype, {r, c}) {
    for (size_t i = 0; i < data.size(); ++i)
      data[i] = from_float<T>(float(int((i * 131 + i / size_t(c) * 7 + salt * 7919) % 31) - 15) / 16);
  }
  double at(int64_t row, int64_t column) const { return double(to_float(data[size_t(row * columns + column)])); }
};

// out [rows, columns], rows and columns of others behind it.
class ProductResult {
  static constexpr int64_t kOthers = 16;
  int64_t rows_, columns_, stride_;
  std::vector<bf16> data_;

 public:
  DeviceTensor on_device;
  ProductResult(int64_t rows, int64_t columns)
      : rows_(rows),
        columns_(columns),
        stride_(columns + kOthers),
        data_(size_t((rows + kOthers) * stride_), bf16{0x7fff}),
        on_device(data_.data(), DType::bfloat16, {rows, columns}) {
    on_device.stride[0] = stride_;
    emu::in_front(data_.data(), data_.size() * sizeof(bf16));
  }
  // The first row with anything else than value(row, column), or outside of out with anything at all.
  template <class Value>
  std::string wrong(Value &&value) const {
    for (int64_t row = 0; row < rows_ + kOthers; ++row)
      for (int64_t column = 0; column < stride_; ++column) {
        const bf16 came = data_[size_t(row * stride_ + column)];
        const bool others = row >= rows_ || column >= columns_;
        if (others && came.bits != 0x7fff) return "written outside at row " + std::to_string(row);
        if (others) continue;
        const double sum = value(row, column);
        if (!(std::fabs(sum - double(to_float(came))) <= 0.02 + 0.01 * std::fabs(sum)))
          return "wrong result at row " + std::to_string(row);
      }
    return "";
  }
};

template <class A, class B>
double product_of_rows(const A &a, int64_t row, const B &b, int64_t of) {
  double sum = 0;
  for (int64_t k = 0; k < a.columns; ++k) sum += a.at(row, k) * b.at(of, k);
  return sum;
}

}  // namespace opswap::emu::bugs
