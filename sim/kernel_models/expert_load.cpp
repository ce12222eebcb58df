#include "sim/kernel_models/expert_load.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <unordered_map>
#include <vector>

namespace gambrel::sim {
namespace {

constexpr std::size_t height_count = ExpertRows::heights.size();

/// The question in whole numbers, `ranks` dividing the experts.
struct Whole {
  double tokens;
  std::size_t experts, top_k, ranks, local;
};

Whole whole(const ExpertRouting& q) {
  const double experts = std::max(1.0, std::round(q.experts)), ranks = std::clamp(std::round(q.ranks), 1.0, experts);
  const double local = std::floor(experts / ranks);
  return {std::max(1.0, std::round(q.tokens)), static_cast<std::size_t>(local * ranks),
          static_cast<std::size_t>(std::clamp(std::round(q.top_k), 1.0, local * ranks)), static_cast<std::size_t>(ranks), static_cast<std::size_t>(local)};
}

ExpertRows rows_of(std::span<const double> loads) {
  ExpertRows sum;
  for (double load : loads) {
    sum.rows += load;
    sum.active += load > 0;
    for (std::size_t h = 0; h < height_count; ++h) sum.tile_counts[h] += std::ceil(load / ExpertRows::heights[h]);
  }
  return sum;
}

ExpertLoad load_of(std::vector<double> loads, double tokens_here, double top_k) {
  ExpertLoad load{rows_of(loads), tokens_here, {}};
  loads.front() += tokens_here * top_k - load.local.rows;
  load.first_takes_all = rows_of(loads);
  return load;
}

// ---- balanced

/// Few tokens are spread over the stride: choice j of token i is expert i stride / tokens + j stride.
ExpertLoad few_balanced(const Whole& q, double stride) {
  std::vector<double> loads(q.local);
  double here = 0;
  for (double i = 0; i < q.tokens; ++i) {
    bool hit = false;
    for (std::size_t j = 0; j < q.top_k; ++j) {
      const auto expert = static_cast<std::size_t>(std::fmod(i * stride / q.tokens + static_cast<double>(j) * stride, static_cast<double>(q.experts)));
      if (expert >= q.local) continue;
      ++loads[expert];
      hit = true;
    }
    here += hit;
  }
  return load_of(std::move(loads), here, static_cast<double>(q.top_k));
}

/// Choice j of token i is expert i + j stride: periodic in the tokens, with the experts' number as the period.
ExpertLoad balanced(const Whole& q) {
  const std::size_t stride = (q.experts + q.top_k - 1) / q.top_k;
  if (q.tokens < static_cast<double>(stride)) return few_balanced(q, static_cast<double>(stride));
  const double periods = std::floor(q.tokens / static_cast<double>(q.experts));
  const auto rest = static_cast<std::size_t>(q.tokens - periods * static_cast<double>(q.experts));
  std::vector<double> loads(q.local);
  std::vector<bool> hits(q.experts);  // token i, modulo the period, has an expert here
  for (std::size_t j = 0; j < q.top_k; ++j) {
    const std::size_t back = q.experts - j * stride % q.experts;
    for (std::size_t e = 0; e < q.local; ++e) {
      const std::size_t token = (e + back) % q.experts;
      loads[e] += periods + (token < rest);
      hits[token] = true;
    }
  }
  const auto in_rest = std::count(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(rest), true);
  const double here = periods * static_cast<double>(std::ranges::count(hits, true)) + static_cast<double>(in_rest);
  return load_of(std::move(loads), here, static_cast<double>(q.top_k));
}

// ---- power law

/// Where in its cell each draw takes the experts' uniform numbers. Chosen so that four draws come close to many random
/// ones; the cells are dealt to the experts by a fixed shuffle, because evenly dealt ones would balance the ranks.
constexpr std::array<double, 4> cell_offsets{0.5, 0.06, 0.94, 0.25};

std::vector<std::size_t> shuffled(std::size_t n, std::size_t draw) {
  auto state = static_cast<std::uint32_t>(12345 + 7919 * draw + n);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = n - 1; i > 0; --i) {
    state = 1664525 * state + 1013904223;  // Numerical Recipes' generator
    std::swap(order[i], order[(state >> 8) % (i + 1)]);
  }
  return order;
}

/// Rows of every expert before they are made to add up: bounded Pareto numbers by inversion.
std::vector<double> popular(const Whole& q, double alpha, std::size_t draw) {
  const double choices = q.tokens * static_cast<double>(q.top_k), n = static_cast<double>(q.experts);
  const double range = choices > n ? q.tokens * 0.8 : 2 / 0.01;  // upper over lower bound
  const double slope = 1 - alpha, span = std::pow(range, slope) - 1;
  const std::vector<std::size_t> cells = shuffled(q.experts, draw);
  std::vector<double> rows(q.experts);
  double sum = 0;
  for (std::size_t e = 0; e < q.experts; ++e) {
    const double u = 1 - (static_cast<double>(cells[e]) + cell_offsets[draw]) / n;
    rows[e] = std::abs(slope) < 1e-9 ? std::pow(range, u) : std::pow(span * u + 1, 1 / slope);
    sum += rows[e];
  }
  for (double& r : rows) r = std::nearbyint(r / sum * q.tokens * static_cast<double>(q.top_k));
  return rows;
}

/// `more` rows to a rank, each to its least loaded expert, none above `most`: the water level, in whole rows.
void fill(std::span<double> rank, double more, double most) {
  std::ranges::sort(rank);
  if (more <= 0) return;
  const std::size_t n = rank.size();
  double below = 0, level = most;
  std::size_t wet = 0;
  while (wet < n) {
    below += rank[wet++];
    const double next = wet < n ? rank[wet] : most;
    if (static_cast<double>(wet) * next - below < more && wet < n) continue;
    level = std::min(most, (more + below) / static_cast<double>(wet));
    break;
  }
  double parts = 0;
  for (double& r : rank.first(wet)) parts += std::max(r, level) - std::floor(std::max(r, level));
  double left = std::nearbyint(parts);
  for (double& r : rank.first(wet)) {
    r = std::max(r, level);
    const bool up = left > 0 && r - std::floor(r) > 1e-9;
    r = std::floor(r) + up;
    left -= up;
  }
}

/// `more` rows to all ranks, round robin; what a full rank cannot take goes to the first that can.
void deal(std::span<double> rows, const Whole& q, double more) {
  const double each = std::floor(more / static_cast<double>(q.ranks)), extra = more - each * static_cast<double>(q.ranks);
  const auto rank = [&](std::size_t i) { return rows.subspan(i * q.local, q.local); };
  const auto room = [&](std::size_t i) {
    const auto r = rank(i);
    return std::accumulate(r.begin(), r.end(), 0.0, [&](double sum, double load) { return sum + q.tokens - load; });
  };
  double left = 0;
  for (std::size_t i = 0; i < q.ranks; ++i) {
    const double due = each + (static_cast<double>(i) < extra), taken = std::min(due, room(i));
    left += due - taken;
    fill(rank(i), taken, q.tokens);
  }
  for (std::size_t i = 0; i < q.ranks && left > 0; ++i) {
    const double taken = std::min(left, room(i));
    if (taken > 0) fill(rank(i), taken, q.tokens);
    left -= taken;
  }
}

/// `fewer` rows from all ranks, round robin, each from its most loaded expert.
void take(std::span<double> rows, const Whole& q, double fewer) {
  for (std::size_t i = 0; fewer > 0; i = (i + 1) % q.ranks) {
    const auto rank = rows.subspan(i * q.local, q.local);
    const auto most = std::ranges::max_element(rank);
    if (*most <= 0) continue;
    --*most;
    --fewer;
  }
}

/// One row a token at most, as many rows as choices, the busiest rank first.
void settle(std::vector<double>& rows, const Whole& q) {
  double over = 0;
  for (double& r : rows) {
    over += std::max(0.0, r - q.tokens);
    r = std::min(r, q.tokens);
  }
  if (over > 0) deal(rows, q, over);
  const double missing = q.tokens * static_cast<double>(q.top_k) - std::accumulate(rows.begin(), rows.end(), 0.0);
  if (missing > 0) deal(rows, q, missing);
  if (missing < 0) take(rows, q, -missing);
  double most = -1;
  std::size_t busiest = 0;
  for (std::size_t i = 0; i < q.ranks; ++i) {
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(i * q.local);
    const double sum = std::accumulate(first, first + static_cast<std::ptrdiff_t>(q.local), 0.0);
    if (sum > most) most = sum, busiest = i;
  }
  const auto at = [&](std::size_t i) { return rows.begin() + static_cast<std::ptrdiff_t>(i * q.local); };
  if (busiest > 0) std::swap_ranges(at(0), at(1), at(busiest));
}

/// Tokens with an expert on the first rank: the experts take the tokens in turn, the fullest first, so each covers an
/// arc of the circle of tokens; the length of the arcs' union.
double tokens_covered(const std::vector<double>& rows, const Whole& q) {
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t e) { return rows[e]; });
  std::vector<std::pair<double, double>> arcs;
  double start = 0;
  for (std::size_t e : order) {
    if (e < q.local && rows[e] > 0) {
      const double from = std::fmod(start, q.tokens), to = from + rows[e];
      arcs.emplace_back(from, std::min(to, q.tokens));
      if (to > q.tokens) arcs.emplace_back(0, to - q.tokens);
    }
    start += rows[e];
  }
  std::ranges::sort(arcs);
  double covered = 0, end = 0;
  for (const auto& [from, to] : arcs) {
    covered += std::max(0.0, to - std::max(from, end));
    end = std::max(end, to);
  }
  return covered;
}

void add(ExpertRows& sum, const ExpertRows& more, double share) {
  sum.rows += more.rows * share;
  sum.active += more.active * share;
  for (std::size_t h = 0; h < height_count; ++h) sum.tile_counts[h] += more.tile_counts[h] * share;
}

ExpertLoad power_law(const Whole& q, double alpha) {
  constexpr double share = 1.0 / cell_offsets.size();
  ExpertLoad mean;
  for (std::size_t draw = 0; draw < cell_offsets.size(); ++draw) {
    std::vector<double> rows = popular(q, alpha, draw);
    settle(rows, q);
    const double here = tokens_covered(rows, q);
    rows.resize(q.local);
    const ExpertLoad load = load_of(std::move(rows), here, static_cast<double>(q.top_k));
    mean.tokens += load.tokens * share;
    add(mean.local, load.local, share);
    add(mean.first_takes_all, load.first_takes_all, share);
  }
  return mean;
}

// ---- uniform

/// Above this mean an expert's rows vary so little that the tiles' last parts are full by half.
constexpr double smooth_mean = 1e4;

/// E[ceil(r / height)] of r ~ Binomial(tokens, chance), by the ratio of neighbouring terms from the mode outwards.
std::array<double, height_count> expected_tiles(double tokens, double chance) {
  std::array<double, height_count> tiles{};
  double weights = 0;
  const auto term = [&](double r, double weight) {
    weights += weight;
    for (std::size_t h = 0; h < height_count; ++h) tiles[h] += weight * std::ceil(r / ExpertRows::heights[h]);
  };
  const double mode = std::floor((tokens + 1) * chance), odds = chance / (1 - chance);
  double weight = 1;
  for (double r = mode; r <= tokens && weight > 1e-16; ++r) {
    term(r, weight);
    weight *= (tokens - r) / (r + 1) * odds;
  }
  weight = mode / (tokens - mode + 1) / odds;
  for (double r = mode - 1; r >= 0 && weight > 1e-16; --r) {
    term(r, weight);
    weight *= r / (tokens - r + 1) / odds;
  }
  for (double& t : tiles) t /= weights;
  return tiles;
}

/// Tiles of one expert.
std::array<double, height_count> tiles_each(const Whole& q, double mean) {
  const double chance = mean / q.tokens;
  if (mean <= smooth_mean && chance < 1) return expected_tiles(q.tokens, chance);
  std::array<double, height_count> tiles{};
  for (std::size_t h = 0; h < height_count; ++h) tiles[h] = chance < 1 ? mean / ExpertRows::heights[h] + 0.5 : std::ceil(mean / ExpertRows::heights[h]);
  return tiles;
}

/// Chance that none of a token's experts is among the local ones: C(E - L, k) / C(E, k).
double chance_of_none(const Whole& q) {
  const double experts = static_cast<double>(q.experts), fewer = static_cast<double>(std::min(q.local, q.top_k)), more = static_cast<double>(std::max(q.local, q.top_k));
  double chance = 1;
  for (double j = 0; j < fewer && chance > 1e-18; ++j) chance *= std::max(0.0, experts - more - j) / (experts - j);
  return chance;
}

ExpertLoad uniform(const Whole& q) {
  const double local = static_cast<double>(q.local), k = static_cast<double>(q.top_k);
  const double chance = k / static_cast<double>(q.experts), mean = q.tokens * chance;
  const auto tiles = tiles_each(q, mean);
  const double active = chance < 1 ? -std::expm1(q.tokens * std::log1p(-chance)) : 1;
  ExpertLoad load{{mean * local, active * local, {}}, q.tokens * (1 - chance_of_none(q)), {}};
  const double first = mean + std::max(0.0, load.tokens * k - load.local.rows);
  load.first_takes_all = {mean * (local - 1) + first, active * (local - 1) + std::min(1.0, first), {}};
  for (std::size_t h = 0; h < height_count; ++h) {
    load.local.tile_counts[h] = tiles[h] * local;
    const double least = first / ExpertRows::heights[h];
    load.first_takes_all.tile_counts[h] = tiles[h] * (local - 1) + std::max(tiles[h], std::min(std::ceil(least), least + std::min(1.0, first)));
  }
  return load;
}

// ---- memory

/// Beyond these, which no model has, uniform is near enough and costs nothing.
constexpr std::size_t most_experts = 1 << 14;
constexpr double most_pairs = 1e6;

ExpertLoad answer(const ExpertRouting& question) {
  using Kind = models::Routing::Kind;
  const Whole q = whole(question);
  const bool feasible = q.experts <= most_experts && static_cast<double>(q.experts) * static_cast<double>(q.top_k) <= most_pairs;
  if (feasible && question.routing.kind == Kind::balanced) return balanced(q);
  if (feasible && question.routing.kind == Kind::power_law) return power_law(q, question.routing.alpha);
  return uniform(q);
}

using Key = std::array<double, 6>;

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 0;
    for (double part : key) hash = (hash ^ std::bit_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15ULL, hash ^= hash >> 29;
    return static_cast<std::size_t>(hash);
  }
};

}  // namespace

double ExpertRows::tiles(int height) const {
  return tile_counts[static_cast<std::size_t>(std::ranges::find(heights, height) - heights.begin())];
}

ExpertLoad expert_load(const ExpertRouting& question) {
  thread_local std::unordered_map<Key, ExpertLoad, KeyHash> known;
  constexpr std::size_t limit = 1 << 14;  // 3 MB
  const Key key{question.tokens, question.experts, question.top_k, question.ranks, static_cast<double>(question.routing.kind), question.routing.alpha};
  if (const auto found = known.find(key); found != known.end()) return found->second;
  if (known.size() >= limit) known.clear();
  return known.emplace(key, answer(question)).first->second;
}

}  // namespace gambrel::sim
