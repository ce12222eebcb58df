// Inside sim/sweep/ only: one step on one chip, evaluated again and again on chips and batches that differ in numbers.
// What does not depend on a rate is kept: graphs, lowered operators, traffic, tilings. See DESIGN, "Fast by construction".
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sim/kernel_models/gemm_cache.hpp"
#include "sim/refine.hpp"
#include "sim/sweep/figures.hpp"

namespace gambrel::sim {

class FastStep {
 public:
  /// Prefill or decode on one chip, under a plan that is none, with nothing asserted and no host in the way.
  static bool handles(const Run& run);

  /// `run`'s chip and workload may change their numbers between evaluations, nothing else of it; it must outlive this.
  FastStep(const Run& run, const BoundNames& bounds);
  ~FastStep();

  /// The chip's numbers have changed. `compute`: a key of what its compute units and cores now are; equal keys, equal units.
  void use_chip(std::uint64_t compute);

  /// What measures_of(run, estimate(run)) gives, bit for bit. False: not even one sequence fits (`batch: max`).
  bool evaluate(Measures& measures);

  /// Shapes that are kept: a measure of memory, about 20 KB each.
  std::size_t size() const { return steps_.size(); }

 private:
  struct Rates;
  struct Step;
  struct Placed;
  struct Tilings;
  struct Prepared;
  struct PreparedOp;

  /// A step's shape: sequences, new and past tokens.
  struct Shape {
    double batch, new_tokens, past_tokens;
    bool operator==(const Shape&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Shape& shape) const;
  };

  Step& step(const Shape& shape);
  Placed& placed(Step& step);
  Demand demand(const Shape& shape);
  double largest(double new_tokens, double past_tokens);
  Prepared& prepared(Step& step);
  void find_bounds(const Step& step, const Placed& placed);
  void time_kernels(Step& step);
  void use_arrays(const models::LoweredOp& op, double experts_hit, std::size_t i);
  void use_kernel(const RefinedOp& refined, PreparedOp& op, std::size_t i);
  void sum(const Step& step, const Placed& placed, Measures& measures) const;
  void sum_bounds(const Step& step, Measures& measures) const;
  void forget();

  const Run& run_;
  CalibrationBook book_;
  std::vector<double> bound_index_;         ///< of the machine's levels
  std::vector<std::size_t> bound_order_;    ///< levels, compute, launch: by name
  std::unordered_map<std::uint64_t, std::unique_ptr<Rates>> rates_;
  Rates* now_ = nullptr;
  std::vector<std::unique_ptr<Tilings>> tilings_;
  std::unordered_map<Shape, std::unique_ptr<Step>, Hash> steps_;
  std::unordered_map<Shape, Demand, Hash> demands_;
  std::map<std::vector<double>, double> largest_;  ///< capacities, new and past tokens -> batch
  std::vector<double> key_, last_key_;
  double last_largest_ = 0;
  Step* last_step_ = nullptr;
  Shape last_shape_{};
  std::vector<double> seconds_per_byte_, times_, t_math_;
  std::vector<int> bounds_;
  Costs costs_;
};

}  // namespace gambrel::sim
