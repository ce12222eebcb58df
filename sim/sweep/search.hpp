// Which designs are looked at next. A search knows axes and objectives, never how a cost comes about.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/sweep/design_point.hpp"

namespace gambrel::sim {

struct SearchOptions {
  std::string kind = "exhaustive";  ///< exhaustive | random | latin_hypercube | sobol | coordinate_descent | nsga2
  std::uint64_t points = 0;         ///< to look at; 0: the search's own default (exhaustive: all)
  std::uint64_t seed = 1;
  std::uint64_t first = 0, last = 0;  ///< exhaustive: only indices in [first, last); 0, 0: all
};

/// Enumeration apart from evaluation. Used from one thread; a batch may be evaluated in any order, in parallel.
/// (Fits have a `Search`, sim/kernel_models/fit.hpp.)
class PointSearch {
 public:
  virtual ~PointSearch() = default;
  /// Up to `most` indices of points to evaluate, fewer or none if results are awaited; empty and done(): the end.
  virtual std::vector<std::uint64_t> next(std::size_t most) = 0;
  /// Results of points that next() named, in the order in which it named them.
  virtual void report(std::span<const PointResult> results) = 0;
  virtual bool done() const = 0;
};

/// Whether what a search looks at next depends on results. The others are sequences: their positions can be shared out.
bool search_learns(std::string_view kind);

/// Error: an unknown kind, or one that this build has not got (nsga2 without pagmo).
Result<std::unique_ptr<PointSearch>> make_search(const DesignSpace& space, const SearchOptions& options);

}  // namespace gambrel::sim
