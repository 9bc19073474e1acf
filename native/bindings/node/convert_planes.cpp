// Reads from JavaScript objects how a source stores its codes, scales, zeros and groups.
#include "convert_planes.h"

#include <string>

#include "convert_arguments.h"

namespace opswap_node {
namespace {

using namespace opswap::convert;

constexpr Named<Element> kPlaneElements[] = {{"F32", Element::f32},  {"F16", Element::f16},   {"BF16", Element::bf16},
                                             {"F64", Element::f64},  {"E8M0", Element::e8m0}, {"I8", Element::i8},
                                             {"U8", Element::u8},    {"U4", Element::u4},     {"I4", Element::i4},
                                             {"E2M1", Element::e2m1}};
constexpr Named<Packing> kPackings[] = {{"along", Packing::along}, {"across", Packing::across}, {"awq", Packing::awq}};

[[noreturn]] void refuse(Napi::Object from, const std::string &why) {
  raise(from.Env(), "OPSWAP_E_ARGUMENT", "convertTensor: " + why);
}

bool is_packed(const Plane &plane) {
  const bool nibbles = plane.element == Element::u4;
  if (plane.packing == Packing::awq) return nibbles;
  return plane.packing == Packing::along || nibbles || plane.element == Element::u8;
}

void read_plane(Napi::Object from, Plane &plane) {
  plane.element = choice(from, "element", kPlaneElements);
  plane.packing = from.Has("packing") ? choice(from, "packing", kPackings) : Packing::along;
  plane.by_columns = from.Get("byColumns").ToBoolean();
  plane.offset = whole(from, "offset", 0, kMost);
  plane.pitch = whole(from, "pitch", 1, kMost);
  plane.lines = whole(from, "lines", 0, kMost);
  const int64_t together = plane.packing == Packing::awq ? 8 : group_of(plane.element).elements;
  if (plane.packing != Packing::across && plane.pitch % together != 0)
    refuse(from, "pitch is no multiple of " + std::to_string(together));
  if (!is_packed(plane)) refuse(from, "element is not packed in that way");
}

std::optional<Grid> read_grid(Napi::Object from, const char *key) {
  if (!from.Has(key)) return std::nullopt;
  if (!from.Get(key).IsObject()) refuse(from, std::string(key) + " need an object");
  const Napi::Object object = from.Get(key).As<Napi::Object>();
  Grid grid;
  read_plane(object, grid);
  grid.path = object.Get("path").ToString().Utf8Value();
  grid.rows = whole(object, "rows", 1, kMost);
  grid.columns = whole(object, "columns", 1, kMost);
  if (object.Has("first")) grid.first = whole(object, "first", 0, kMost);
  return grid;
}

void read_groups(Napi::Object from, Job &job) {
  if (!from.Has("groups")) return;
  const Napi::Value value = from.Get("groups");
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    refuse(from, "groups need an Int32Array");
  const auto array = value.As<Napi::Int32Array>();
  if (int64_t(array.ElementLength()) != job.columns) refuse(from, "groups are not one for each column");
  int64_t most = kMost;
  for (const std::optional<Grid> &grid : {job.scales, job.zeros})
    if (grid) most = std::min(most, (job.columns + grid->columns - 1) / grid->columns);
  job.groups.assign(array.Data(), array.Data() + array.ElementLength());
  for (const int32_t group : job.groups)
    if (group < 0 || group >= most) refuse(from, "groups name a block that is not there");
}

}  // namespace

void read_planes(Napi::Object from, Job &job) {
  if (from.Has("slices")) job.slices = whole(from, "slices", 1, kMost);
  if (job.rows % job.slices != 0) refuse(from, "rows are no multiple of slices");
  job.scales = read_grid(from, "scales");
  job.zeros = read_grid(from, "zeros");
  if (from.Has("codes")) {
    if (!from.Get("codes").IsObject()) refuse(from, "codes need an object");
    read_plane(from.Get("codes").As<Napi::Object>(), job.codes.emplace());
    job.element = job.codes->element;
  }
  if (from.Has("zero")) job.zero = from.Get("zero").ToNumber().FloatValue();
  read_groups(from, job);
  const bool lines = job.zeros || job.zero != 0 || !job.groups.empty();
  if (lines && !job.codes) refuse(from, "zeros and groups go with codes");
}

}  // namespace opswap_node
