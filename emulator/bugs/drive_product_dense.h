// Runs a product as `linear` makes it, with parts as shipped or with a seeded bug, on the emulator: the tile of 128
// columns, a cluster that splits K over the swapped tile of 16, and pairs of blocks.
#include "bugs/drive_product.h"

namespace opswap::OPSWAP_PASS {

constexpr int kStep = int(product::kStepBytes / sizeof(Scalar)), kTurned = 1, kWide = 6;  // of kProductTiles

template <int Tile>
using Memory = ProductMemory<kProductTiles[Tile].rows, kProductTiles[Tile].columns, kProductTiles[Tile].stages,
                             kProductTiles[Tile].swap>;

template <int Tile>
__global__ void product_kernel(BiasedRows<Scalar> out, const TensorMap first, const TensorMap second,
                               const TensorMap rows, ProductPlan plan, int m) {
  OPSWAP_SMEM(Memory<Tile>, s);
  out.to.map = &rows;
  run_product(s, Accumulate<MatrixType::bf16>{}, TmaRows<kStep>{first, second}, DenseTasks<Memory<Tile>>{plan, m}, out);
}

template <int Tile>
emu::bugs::Outcome run(int64_t m, int64_t n, int64_t k, int split, int64_t sms, bool pairs = false) {
  using namespace emu::bugs;
  emu::bugs::Outcome o;
  const emu::Stream stream;
  const ProductRows<bf16> input(DType::bfloat16, m, k, 1), weight(DType::bfloat16, n, k, 2);
  const ProductResult result(m, n);
  in_front(input.data);
  const ProductShape shape{m, n, k * int64_t(sizeof(bf16)), 256, false, pairs};
  const ProductPlan plan = product::plan_of(shape, sms, {Tile, split});
  TensorMap first{}, second{}, rows{};
  encode_operands(first, second, kProductTiles[Tile], plan.pair, input.on_device.tensor, weight.on_device.tensor,
                  MapType::bf16);
  BiasedRows<Scalar> out{product_out<Scalar>(result.on_device.tensor), nullptr};
  out.to.boxed = encode_out(rows, result.on_device.tensor, MapType::bf16);
  launch_product<Memory<Tile>>(one_sm(), "product_kernel", product_kernel<Tile>, plan, out, first, second, rows, plan,
                               int(m));
  o.report = emu::room_report();
  if (!o.report) return o;
  o.wrong = result.wrong([&](int64_t row, int64_t of) { return product_of_rows(input, row, weight, of); });
  // Two warpgroups have four products for each step of a tile.
  const int64_t tiles = int64_t(plan.down) * plan.across * plan.pair;
  expect_at_most(o, "products", uint64_t(tiles * plan.steps * 8), o.report.counters.wgmmas);
  if (o.wrong.empty() && pairs != (plan.pair == 2)) o.wrong = "no pairs were planned";
  return o;
}

}  // namespace opswap::OPSWAP_PASS
