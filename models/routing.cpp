// How many experts a batch of tokens wakes, and what sparse weights take.
#include <algorithm>
#include <cmath>
#include <vector>

#include "models/build.hpp"

namespace gambrel::models {
namespace {

// Chance of each expert to be among the k that a token draws, proportional to r^-alpha and at most 1: what would
// exceed 1 goes to the others. Only ratios of weights are formed, so that no exponent underflows.
std::vector<double> inclusion_chances(int experts, double top_k, double alpha) {
  const auto n = static_cast<std::size_t>(experts);
  auto ratio = [alpha](std::size_t i, std::size_t first) { return std::pow(static_cast<double>(first + 1) / static_cast<double>(i + 1), alpha); };
  std::vector<double> tail(n, 1.0), chance(n, 1.0);  // tail: the sum of the weights from i on, over weight i
  for (std::size_t i = n - 1; i-- > 0;) tail[i] = 1 + tail[i + 1] * ratio(i + 1, i);
  std::size_t certain = 0;  // weights fall, so the certain experts are the first ones
  while (certain < n && top_k - static_cast<double>(certain) >= tail[certain]) ++certain;
  for (std::size_t i = certain; i < n; ++i) chance[i] = (top_k - static_cast<double>(certain)) / tail[certain] * ratio(i, certain);
  return chance;
}

constexpr double place_bits = 16;  // where a kept element or block stands

}  // namespace

double experts_hit(double experts, double top_k, double tokens, const Routing& routing) {
  if (routing.kind == Routing::Kind::balanced) return std::min(experts, top_k * tokens);
  // 1 - (1 - p)^tokens without cancellation for small p.
  auto reached = [tokens](double p) { return p >= 1 ? 1.0 : -std::expm1(tokens * std::log1p(-p)); };
  if (routing.kind == Routing::Kind::uniform || routing.alpha == 0) return experts * reached(top_k / experts);
  double hit = 0;
  for (double p : inclusion_chances(static_cast<int>(experts), top_k, routing.alpha)) hit += reached(p);
  return hit;
}

double busiest_rank(double experts, double top_k, double tokens, double ranks, const Routing& routing) {
  if (ranks <= 1 || routing.kind == Routing::Kind::balanced) return 1;
  const double most = ranks * std::min(1.0, experts / ranks / top_k);
  if (routing.kind == Routing::Kind::uniform || routing.alpha == 0)
    return std::min(most, 1 + std::sqrt(2 * std::log(ranks) / (tokens * top_k / ranks)));
  const std::vector<double> chances = inclusion_chances(static_cast<int>(experts), top_k, routing.alpha);
  double rows = 0;
  for (std::size_t i = 0; i < chances.size(); i += static_cast<std::size_t>(ranks)) rows += chances[i];
  return std::clamp(rows * ranks / top_k, 1.0, most);
}

double chosen_by_any(double density, double choosers) {
  return density >= 1 ? 1 : -std::expm1(std::max(1.0, choosers) * std::log1p(-density));
}

double WeightSparsity::stored_share(double bits) const {
  switch (structure) {
    case Structure::none: return 1;
    case Structure::n_of_m: return density * (bits + std::ceil(std::log2(m))) / bits;
    case Structure::block: return density * (1 + place_bits / (bits * std::max(1.0, double(block) * block)) * (block > 0));
    case Structure::unstructured: return index == Index::csr ? density * (bits + place_bits) / bits : density + 1 / bits;
  }
  return 1;
}

double WeightSparsity::break_even(double bits) const {
  switch (structure) {
    case Structure::none: return 1;
    case Structure::n_of_m: return bits / (bits + std::ceil(std::log2(m)));
    case Structure::block: return density / stored_share(bits);
    case Structure::unstructured: return index == Index::csr ? bits / (bits + place_bits) : 1 - 1 / bits;
  }
  return 1;
}

ParameterCount count_parameters(const Graph& graph) {
  ParameterCount count;
  for (const Tensor& t : graph.tensors()) {
    if (t.role != Role::weight && t.role != Role::expert_weight) continue;
    const double parameters = t.elements() * t.copies;
    count.total += parameters;
    if (!t.looked_up) count.active += parameters * t.active_share;
  }
  return count;
}

double stored_bytes(const Graph& graph, Role role) {
  double bytes = 0;
  for (const Tensor& t : graph.tensors())
    if (t.role == role) bytes += t.bytes() * t.copies;
  return bytes;
}

}  // namespace gambrel::models
