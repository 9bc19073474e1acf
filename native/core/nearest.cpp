// Edit distances to the names that are known, for the hint "did you mean".
#include "nearest.h"

#include <algorithm>
#include <numeric>

namespace opswap {
namespace {

constexpr size_t kLongestName = 128;

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = up;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(const char *name, const std::vector<std::string_view> &names) {
  if (!name || std::string_view(name).size() > kLongestName) return "";
  const size_t limit = std::max<size_t>(2, std::string_view(name).size() / 3);
  std::vector<std::pair<size_t, std::string_view>> near;
  for (auto n : names)
    if (size_t d = edit_distance(name, n); d <= limit) near.emplace_back(d, n);
  std::sort(near.begin(), near.end());
  if (near.empty()) return "";
  std::string text = " (did you mean '" + std::string(near[0].second) + "'";
  if (near.size() > 1) text += " or '" + std::string(near[1].second) + "'";
  return text + "?)";
}

}  // namespace opswap
