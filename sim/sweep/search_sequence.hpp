// Searches that do not learn: a sequence of points known from the start, any part of which can be looked at alone.
#pragma once

#include <cstdint>
#include <memory>

#include "sim/sweep/search.hpp"

namespace gambrel::sim {

/// Used from many threads.
class Sequence {
 public:
  virtual ~Sequence() = default;
  virtual std::uint64_t size() const = 0;
  /// The point at a position below size(). No point occurs twice.
  virtual std::uint64_t at(std::uint64_t position) const = 0;
};

/// Error: an unknown kind, one that learns, or more points than the kind can draw.
Result<std::unique_ptr<Sequence>> make_sequence(const DesignSpace& space, const SearchOptions& options);

// The rows of make_sequence's table: one file each, or two that share their drawing.
std::unique_ptr<Sequence> exhaustive_sequence(const DesignSpace& space, const SearchOptions& options);
std::unique_ptr<Sequence> random_sequence(const DesignSpace& space, const SearchOptions& options);
std::unique_ptr<Sequence> latin_hypercube_sequence(const DesignSpace& space, const SearchOptions& options);
std::unique_ptr<Sequence> sobol_sequence(const DesignSpace& space, const SearchOptions& options);

// And of make_search's: searches that learn.
std::unique_ptr<PointSearch> coordinate_descent(const DesignSpace& space, const SearchOptions& options);
std::unique_ptr<PointSearch> nsga2(const DesignSpace& space, const SearchOptions& options);  ///< none if built without pagmo

/// 64 well-mixed bits of a counter: the same on every machine (SplitMix64, Steele et al. 2014).
std::uint64_t mixed(std::uint64_t seed, std::uint64_t counter);

/// The high 64 bits of a product: a draw of 64 bits scaled to [0, count).
constexpr std::uint64_t scaled(std::uint64_t bits, std::uint64_t count) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * count) >> 64);
}

/// A stream of draws from a seed; equal on every machine, unlike the standard library's distributions.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}
  std::uint64_t bits() { return mixed(seed_, counter_++); }
  /// Uniform in [0, 1).
  double unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// Uniform below `count`, to 2^-64 of a count.
  std::uint64_t below(std::uint64_t count) { return scaled(bits(), count); }

 private:
  std::uint64_t seed_, counter_ = 0;
};

}  // namespace gambrel::sim
