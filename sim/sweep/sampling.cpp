// Samples of the space, none twice: a random order of all points, one value a stratum of each axis, or Sobol's points.
#include <algorithm>
#include <bit>
#include <boost/random/sobol.hpp>
#include <unordered_set>

#include "sim/sweep/search_sequence.hpp"

namespace gambrel::sim {
namespace {

constexpr std::uint64_t default_points = 10'000;
constexpr std::uint64_t draws_a_point = 64;  ///< given up after so many times the points wanted, where most are drawn again

/// A bijection of [0, size): a Feistel network on the next even number of bits, walked until it lands inside (Black &
/// Rogaway 2002). Any size in no memory.
class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t seed) : size_(size), seed_(seed), half_bits_(std::max(1, (static_cast<int>(std::bit_width(size - 1)) + 1) / 2)) {}

  std::uint64_t at(std::uint64_t i) const {
    do i = encrypt(i);
    while (i >= size_);
    return i;
  }

 private:
  std::uint64_t encrypt(std::uint64_t i) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t left = i >> half_bits_, right = i & mask;
    for (std::uint64_t round = 0; round < 6; ++round) left = std::exchange(right, left ^ (mixed(seed_ + round * 0x9e3779b9u, right) & mask));
    return left << half_bits_ | right;
  }

  std::uint64_t size_, seed_;
  int half_bits_;
};

std::uint64_t wanted(const DesignSpace& space, const SearchOptions& options) { return std::min(options.points > 0 ? options.points : default_points, space.size()); }

class Random final : public Sequence {
 public:
  Random(std::uint64_t size, std::uint64_t points, std::uint64_t seed) : points_(points), order_(size, seed) {}
  std::uint64_t size() const override { return points_; }
  std::uint64_t at(std::uint64_t position) const override { return order_.at(position); }

 private:
  std::uint64_t points_;
  Permutation order_;
};

class Held final : public Sequence {
 public:
  explicit Held(std::vector<std::uint64_t> indices) : indices_(std::move(indices)) {}
  std::uint64_t size() const override { return indices_.size(); }
  std::uint64_t at(std::uint64_t position) const override { return indices_[position]; }

 private:
  std::vector<std::uint64_t> indices_;
};

/// The value of an axis at `place` of `places` equal steps along it.
std::uint32_t value_at(const SweepAxis& axis, std::uint64_t place, std::uint64_t places) {
  return static_cast<std::uint32_t>(place * axis.size() / places);  // below 2^32 values x most_drawn points
}

}  // namespace

std::unique_ptr<Sequence> random_sequence(const DesignSpace& space, const SearchOptions& options) {
  return std::make_unique<Random>(space.size(), wanted(space, options), options.seed);
}

std::unique_ptr<Sequence> latin_hypercube_sequence(const DesignSpace& space, const SearchOptions& options) {
  const std::uint64_t points = wanted(space, options);
  if (points == space.size()) return exhaustive_sequence(space, options);
  std::vector<Permutation> orders;
  for (std::size_t a = 0; a < space.axes().size(); ++a) orders.emplace_back(points, mixed(options.seed, a));
  std::vector<std::uint64_t> indices;
  std::unordered_set<std::uint64_t> seen;
  Coordinates coordinates(orders.size());
  for (std::uint64_t i = 0; i < points; ++i) {
    for (std::size_t a = 0; a < orders.size(); ++a) coordinates[a] = value_at(space.axes()[a], orders[a].at(i), points);
    if (const std::uint64_t index = space.index_of(coordinates); seen.insert(index).second) indices.push_back(index);
  }
  return std::make_unique<Held>(std::move(indices));
}

std::unique_ptr<Sequence> sobol_sequence(const DesignSpace& space, const SearchOptions& options) {
  const std::uint64_t points = wanted(space, options);
  if (points == space.size()) return exhaustive_sequence(space, options);
  boost::random::sobol sobol(space.axes().size());
  std::vector<std::uint64_t> indices;
  std::unordered_set<std::uint64_t> seen;
  Coordinates coordinates(space.axes().size());
  for (std::uint64_t draw = 0; indices.size() < points && draw < draws_a_point * points; ++draw) {
    for (std::size_t a = 0; a < coordinates.size(); ++a) {
      // A shift of the whole torus by the seed keeps the discrepancy (Cranley & Patterson 1976).
      const std::uint64_t place = sobol() + mixed(options.seed, a);
      coordinates[a] = static_cast<std::uint32_t>(scaled(place, space.axes()[a].size()));
    }
    if (const std::uint64_t index = space.index_of(coordinates); seen.insert(index).second) indices.push_back(index);
  }
  return std::make_unique<Held>(std::move(indices));
}

}  // namespace gambrel::sim
