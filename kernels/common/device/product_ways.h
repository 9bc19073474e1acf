// On the host: how a call of a product is planned. A plan that came with the call is checked and taken; else a plan
// file of the user's decides (native/core/tuned.h), else the model of product_plan.h. And what the library asks of a
// room whose plans can be chosen: a room says
//   ProductCall product_of(const my_op_args &a) { return {a.scalar_dtype, a.M, a.N, a.K, a.batch_invariant}; }
//   OPSWAP_SM90_PLANS(my_op) { return ProductWays<my_op_args, product_of, kTraits>::plans(); }
// and plans a call by ProductWays<...>::take.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <string>

#include "check.h"
#include "common/device/access.h"
#include "common/device/product_plan.h"
#include "device.h"
#include "sm90_plans.h"
#include "tuned.h"

namespace opswap {

// What a plan hangs on in a call, and in a room's kernels.
struct ProductCall {
  DType dtype;
  int64_t m, n, k;
  bool invariant = false;
};
struct ProductTraits {
  int bytes;           // of an element of K
  int widest;          // columns of a tile
  bool pairs = false;  // two blocks may share loads
  int lowest = 128;    // rows of a tile
};

inline ProductShape shape_of(const ProductCall &call, ProductTraits traits) {
  return {call.m, call.n, call.k * traits.bytes, traits.widest, call.invariant, traits.pairs, traits.lowest};
}

// The card of this process's device, with the SMs that a call may use.
inline ProductCard card_of(const opswap_exec &exec) {
  const auto named = [] {
    const auto is_here = [](const ProductCard &card) { return device_is_one_of(card.name); };
    const int at = int(std::find_if(kProductCards, kProductCards + kProductCardCount, is_here) - kProductCards);
    return at < kProductCardCount ? at : product_card(0, device_sms());
  };
  static const int here = named();  // devices do not come and go
  ProductCard card = kProductCards[here];
  card.sms = int(device::sms_of(exec));
  return card;
}

inline const ProductCard *card_named(std::string_view name) {
  const auto *end = kProductCards + kProductCardCount;
  const auto *found = std::find_if(kProductCards, end, [&](const ProductCard &card) { return name == card.name; });
  return found == end ? nullptr : found;
}

// "swap 128x16 split 4", "128x256".
inline std::string name_of(ProductWay way) {
  const ProductTile &t = kProductTiles[way.tile];
  return (t.swap ? "swap " : "") + std::to_string(t.rows) + "x" + std::to_string(t.columns) +
         (way.split > 1 ? " split " + std::to_string(way.split) : "");
}

// False: no tile and split have this name.
inline bool way_named(std::string_view name, ProductWay &way) {
  for (int tile = 0; tile != kProductTileCount; ++tile)
    for (int split = 1; split <= product::kMostSplit; ++split)
      if (way = {tile, split}; name == name_of(way)) return true;
  return false;
}

constexpr int64_t number_of(ProductWay way) { return int64_t(way.tile) << 8 | way.split; }
constexpr ProductWay way_of(int64_t number) { return {int(number >> 8), int(number & 255)}; }

// Calls whose M rounds up to one power of two share a key.
inline PlanKey key_of(const ProductCall &call) {
  return {{int64_t(call.dtype), device::power_of_two(call.m), call.n, call.k}};
}

// "bfloat16 M16 N7168 K2048".
inline std::string text_of(const PlanKey &key) {
  return std::string(dtype_name(DType(key.of[0]))) + " M" + std::to_string(key.of[1]) + " N" +
         std::to_string(key.of[2]) + " K" + std::to_string(key.of[3]);
}

// False: `text` is no key as text_of writes it.
inline bool key_named(std::string_view text, PlanKey &key) {
  constexpr char kNames[] = "?MNK";
  const std::string_view dtype = text.substr(0, text.find(' '));
  for (key.of[0] = 0; key.of[0] < int64_t(DType::count) && dtype != dtype_name(DType(key.of[0])); ++key.of[0]) {
  }
  const char *at = text.data() + dtype.size(), *const end = text.data() + text.size();
  for (int i = 1; i <= 3; ++i) {
    if (end - at < 3 || at[0] != ' ' || at[1] != kNames[i]) return false;
    const auto [behind, failed] = std::from_chars(at + 2, end, key.of[i]);
    if (failed != std::errc() || key.of[i] < 1 || key.of[i] > INT32_MAX) return false;
    at = behind;
  }
  return at == end && key.of[0] < int64_t(DType::count) && std::has_single_bit(uint64_t(key.of[1]));
}

// What stands behind the header of a plan, which says for which call and build it is.
struct ProductPlanRecord {
  static constexpr uint32_t kVersion = 1;
  uint32_t version;
  int32_t sms;  // of the card that it was made for
  ProductPlan plan;
};

// Reads the plan that came with a call. Its way has to be one of this call's, and all else what follows from that.
inline opswap_status open_product_plan(const char *op, const opswap_exec &exec, const ProductShape &shape,
                                       ProductPlan &plan) {
  ProductPlanRecord record;
  std::memcpy(&record, exec.plan, sizeof record);
  const int64_t sms = device::sms_of(exec);
  constexpr const char *kAgain = "make another with opswap_plan for this build and device";
  if (record.version != ProductPlanRecord::kVersion)
    return fail(OPSWAP_E_PLAN, "%s: the plan is of version %u, this build reads %u; %s", op, record.version,
                ProductPlanRecord::kVersion, kAgain);
  if (record.sms != sms)
    return fail(OPSWAP_E_PLAN, "%s: the plan was made for a card of %d SMs, the call may use %lld; %s", op, record.sms,
                (long long)sms, kAgain);
  const ProductWay way{record.plan.tile, record.plan.split};
  if (const char *why = product::way_fault(shape, sms, way))
    return fail(OPSWAP_E_PLAN, "%s: the plan %s; %s", op, why, kAgain);
  plan = product::plan_of(shape, sms, way);
  if (std::memcmp(&plan, &record.plan, sizeof plan))
    return fail(OPSWAP_E_PLAN, "%s: the plan cuts another product than the call's; %s", op, kAgain);
  return OPSWAP_OK;
}

template <class Args, ProductCall (*product_of)(const Args &), ProductTraits kTraits>
struct ProductWays {
  // A plan file is for whole cards, and what it says hangs on M. A card may have fewer SMs than others of its model, so
  // that an entry does not fit it.
  static ProductWay chosen(const opswap_exec &exec, const ProductCall &call, bool &tuned) {
    const ProductShape shape = shape_of(call, kTraits);
    const bool free = exec.sm_budget <= 0 && !call.invariant;
    const int64_t *number = free ? tuned_choice(OPSWAP_OP, "sm90", key_of(call)) : nullptr;
    tuned = number && !product::way_fault(shape, device::sms_of(exec), way_of(*number));
    return tuned ? way_of(*number) : best_way(shape, card_of(exec));
  }

  // The plan of a call of M, N >= 1.
  static opswap_status take(const Args &a, const opswap_exec &exec, ProductPlan &plan) {
    const ProductCall call = product_of(a);
    const ProductShape shape = shape_of(call, kTraits);
    if (exec.plan) return open_product_plan(OPSWAP_OP, exec, shape, plan);
    bool tuned;
    plan = product::plan_of(shape, device::sms_of(exec), chosen(exec, call, tuned));
    return OPSWAP_OK;
  }

  static const char *list(const Args &a, const opswap_exec &exec, const char *device, PlanWays &out) {
    const ProductCall call = product_of(a);
    const ProductShape shape = shape_of(call, kTraits);
    if (!call.m || !call.n) return "there is nothing to compute";
    const ProductCard *card = device ? card_named(device) : nullptr, here = card ? *card : card_of(exec);
    if (device && !card) return "no such device is known; needs H20, H100 or H200";
    out.key = text_of(key_of(call));
    product::each_way(shape, here.sms, [&](ProductWay way) {
      out.ways.push_back({name_of(way), product::cycles_of(shape, here, way)});
    });
    if (call.invariant) {
      ProductShape free = shape;
      free.invariant = false;
      out.free_cycles = product::cycles_of(free, here, best_way(free, here));
    }
    out.taken = name_of(device ? best_way(shape, here) : chosen(exec, call, out.tuned));
    return nullptr;
  }

  static const char *make(const Args &a, const opswap_exec &exec, std::string_view name, void *plan) {
    const ProductShape shape = shape_of(product_of(a), kTraits);
    const int64_t sms = device::sms_of(exec);
    ProductWay way;
    if (!way_named(name, way)) return "the kernels have no way of this name";
    if (const char *why = product::way_fault(shape, sms, way)) return why;
    const ProductPlanRecord record{ProductPlanRecord::kVersion, int32_t(sms), product::plan_of(shape, sms, way)};
    std::memcpy(plan, &record, sizeof record);
    return nullptr;
  }

  static const char *plan(const Args &a, const opswap_exec &exec, void *plan) {
    bool tuned;
    return make(a, exec, name_of(chosen(exec, product_of(a), tuned)), plan);
  }

  static const char *read(std::string_view key, std::string_view name, const char *device, PlanChoice &out) {
    const ProductCard *card = card_named(device);
    if (!card) return "is for a device that is not known; needs H20, H100 or H200";
    if (!key_named(key, out.key)) return "has a key that is none; needs one as in 'bfloat16 M16 N7168 K2048'";
    ProductWay way;
    if (!way_named(name, way)) return "is none that the kernels have";
    const ProductCall call{DType(out.key.of[0]), out.key.of[1], out.key.of[2], out.key.of[3]};
    if (const char *why = product::way_fault(shape_of(call, kTraits), card->sms, way)) return why;
    out.way = number_of(way);
    return nullptr;
  }

  static Sm90Plans<Args> plans() { return {sizeof(ProductPlanRecord), plan, list, make, read}; }
};

}  // namespace opswap
