// Inside sim/ only: step times of many training plans, equal to estimate()'s, from pieces that plans share.
#pragma once

#include <array>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sim/plan_search/plan_space.hpp"
#include "sim/training_costs.hpp"

namespace gambrel::sim {

/// Remembers what the network answered.
class Collectives {
 public:
  explicit Collectives(const Network* network) : network_(network) {}
  double seconds(const Transfer& transfer, const RankGroup& group);
  Line line(const Transfer& transfer, const RankGroup& group);

 private:
  struct Key {
    Transfer transfer;
    RankGroup group;
    bool operator==(const Key& o) const { return transfer.kind == o.transfer.kind && transfer.bytes == o.transfer.bytes && transfer.type == o.transfer.type && group == o.group; }
  };
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };

  const Network* network_;
  std::unordered_map<Key, double, Hash> seconds_;
  std::unordered_map<Key, Line, Hash> lines_;
};

/// Plans are fast to evaluate in the order of `plans_of`: what its outer loops choose is worked out once. One thread's.
class PlanEvaluator {
 public:
  /// All referred to must outlive the evaluator. `network`: null on one chip.
  PlanEvaluator(const Run& run, const Machine& machine, const Network* network);

  /// The plans asked about from now on are of these shards and micro-batch.
  void choose(const ShardChoice& choice);

  StageMemory memory(const ParallelismPlan& plan);
  /// Of a step, in the fastest order of the axes. Infinity, if it is clear that the time is more than `limit`.
  double seconds(const ParallelismPlan& plan, double limit = std::numeric_limits<double>::infinity());

 private:
  /// The backward pass of a recomputation.
  struct Trained {
    models::Graph backward;
    OpenTemplate open;
  };
  /// Orders of the axes for a number of stages, and what ranks exchange under each: for ZeRO 0, 1 to 2, and 3.
  struct Places {
    std::vector<Placed> orders;
    std::vector<std::array<std::optional<Exchanges>, 3>> exchanges;
  };
  /// Of one schedule, with and without ZeRO-3 and its overlap. Negative: not worked out yet.
  struct PipelineSeconds {
    double least = -1, exact = -1;
  };
  /// What one order of the axes makes of the step.
  struct Ordered {
    StepTemplate step;
    StageCosts costs;
    Line boundary;
    std::array<std::array<PipelineSeconds, 3>, 4> pipelines;
  };

  void build_forward();
  Trained& trained(models::Recompute recompute);
  Places& places(const ParallelismPlan& plan);
  const StageKinds& kinds(const StepTemplate& step, int stages, int chunks);
  void turn_to_stages(const ParallelismPlan& plan);
  void turn_to_orders(const ParallelismPlan& plan);
  void place_step(const OpenTemplate& open, const Placed& placed, const ParallelismPlan& plan, Ordered& out);
  const Exchanges& exchanges(const ParallelismPlan& plan, std::size_t order);
  double pipeline_seconds(const ParallelismPlan& plan, const Exchanges& e, Ordered& ordered, double limit);
  double seconds_in(const ParallelismPlan& plan, std::size_t order, double limit);

  const Run& run_;
  const Network* network_;
  Collectives collectives_;
  Placed nowhere_;
  RankEvaluator evaluator_;
  ParameterBytes bytes_;
  PipelineShape shape_;
  std::vector<double> message_seconds_;
  std::map<std::pair<int, int>, StageKinds> kinds_;  ///< of `blocks_`
  std::vector<Block> blocks_;

  ShardChoice choice_;
  bool chosen_ = false, built_ = false;
  std::map<int, Places> places_;            ///< by pipeline; of the shards, for any micro-batch
  std::optional<double> optimizer_;         ///< likewise
  models::Graph forward_;
  Phase forward_phase_;
  std::array<std::unique_ptr<Trained>, 3> trained_;

  ParallelismPlan turned_;                  ///< recomputation, pipeline and chunks of what follows
  bool staged_ = false, ordered_ = false;
  int microbatches_ = 0;
  const StageKinds* now_kinds_ = nullptr;
  Places* now_places_ = nullptr;
  StageCosts now_costs_;
  std::vector<Ordered> orders_;
};

}  // namespace gambrel::sim
