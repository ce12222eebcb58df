// Prepared GEMMs by call, for sweeps over rates: the search for tilings happens once a shape.
#pragma once

#include <array>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/kernel_models/gemm_model.hpp"

namespace gambrel::sim {

/// For chips with as many cores and the same formats as the one given, under one set of constants (in the order of
/// gemm_model.constants). Not for several threads at once: a worker has its own.
class GemmCache {
 public:
  GemmCache(const ChipFigures& chip, std::span<const double> values) : chip_(chip), values_(values.begin(), values.end()) {}

  /// Stays where it is for the cache's life.
  const PreparedGemm& prepare(const KernelCall& call);
  double seconds(const KernelCall& call, const ChipFigures& rates) { return prepare(call).seconds(rates); }

  std::size_t size() const { return prepared_.size(); }

 private:
  /// Sizes, widths and work: all that tells calls apart.
  using Key = std::array<double, 11>;
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };

  ChipFigures chip_;
  std::vector<double> values_;
  std::unordered_map<Key, PreparedGemm, Hash> prepared_;
};

}  // namespace gambrel::sim
