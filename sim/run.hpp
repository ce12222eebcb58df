// A run: everything an estimate depends on, read, checked and put together.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/catalog.hpp"
#include "base/node.hpp"
#include "base/result.hpp"
#include "hw/system.hpp"
#include "models/backward.hpp"
#include "models/build.hpp"
#include "models/fuse.hpp"
#include "models/model_config.hpp"
#include "models/precision.hpp"
#include "sim/calibration/calibration.hpp"
#include "sim/plan/plan.hpp"
#include "sim/sites.hpp"

namespace gambrel::sim {

enum class PhaseKind { prefill, decode, generate, train };

struct Workload {
  PhaseKind phase = PhaseKind::decode;
  double batch = 1;
  bool largest_batch = false;   ///< `batch: max`
  double new_tokens = 1, past_tokens = 0;  ///< of prefill and decode; decode's past is context - new_tokens
  double input = 0, output = 0; ///< of generate
  double prefill_batch = 0;     ///< of generate on pools: sequences of one prefill
  bool prefilled = false;       ///< of generate: prompts come with their KV cache from another pool
  double global_batch = 1, micro_batch = 1, sequence = 1;  ///< of train: sequences of a step, of one pass, tokens of each
  double tokens = 0;            ///< of train: of the whole training; 0: not given
  bool dropout = false;
  bool all_logits = false;
  models::Routing routing;
};

/// Memory levels that hold a role's tensors, filled one after the other; empty = the chip's main memory.
struct Placement {
  std::vector<std::string> weights, kv_cache, experts;
};

struct Run {
  std::string id;
  models::ModelConfig model;
  hw::System system;
  Workload workload;
  Position workload_at;               ///< for errors that only the prediction finds
  models::Precision precision;        ///< the run's own choices
  models::WeightSparsity sparsity;
  std::string sparsity_pattern;       ///< "2:4", as the chip's units name it
  models::DataSparsity data_sparsity;
  bool fused_attention = true, fused_experts = true;
  models::Fusion fusion;              ///< of what lies between attention, experts and products
  Placement placement;
  ParallelismPlan plan;
  bool best_plan = false;             ///< the plan is searched for
  int chips = 1;                      ///< that the plan's meshes cover
  Position plan_at;                   ///< for errors that only the prediction finds
  std::optional<SitePlan> sites;      ///< that share the data axis
  std::optional<Reliability> reliability;
  std::vector<Run> pools;             ///< prefill and decode, each on chips of its own; the rest of this run is both's
  models::TrainingPrecision training;
  Seconds host_overhead{0};           ///< of a step: what the host does while the chips wait
  bool calibrated = false;            ///< times from kernel models, where there are constants; else the plain roofline
  CalibrationBook calibration;        ///< the first chip's, loaded only if `calibrated`
  std::vector<std::pair<std::string, double>> assume;  ///< operator kind -> asserted efficiency
  std::vector<std::pair<std::string, std::string>> settings;  ///< to print: workload, precision, set, ...
  std::vector<std::string> energy_notes;  ///< what the chip's energies were taken from
  std::string config_hash;            ///< XXH3-128 over the resolved documents

  models::PrecisionPolicy policy() const { return {model.dtype, model.precision, precision}; }
  /// The step with that many sequences and tokens, under the run's routing, sparsity and fusion.
  models::Step step(double sequences, double new_tokens, double past_tokens) const;
};

/// One `--set path=value` of the command line.
struct Setting {
  std::string path, value;
  Position from;
};

/// Reads `document` (a run file's tree), then the model and the system it names, lays `set:` and then `settings` over
/// them, validates each against its schema, and checks what no schema can: batch and context belong to the phase,
/// levels that the machine has, a plan whose product is one chip.
Result<Run> read_run(const Catalog& catalog, Node document, const std::vector<Setting>& settings);

/// A model by name or path, Hugging Face configs lowered: the canonical document, validated.
Result<Node> load_model_document(const Catalog& catalog, std::string_view name_or_path, const Position& from = {});

}  // namespace gambrel::sim
