// What a prediction says: per operator, per phase and in total. Plain values; every figure is computed in sim/ and
// only printed elsewhere.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/data_type.hpp"
#include "base/quantity.hpp"
#include "sim/plan/pools.hpp"
#include "sim/sites.hpp"
#include "sim/timeline/step.hpp"
#include "sim/timeline/timeline.hpp"

namespace gambrel::sim {

/// How a number is known, from best to weakest.
enum class Provenance { measured, calibrated, transferred, assumed, analytic };

/// Traffic at one memory level and the time it takes at that level's bandwidth (0 if none is stated).
struct LevelCost {
  Bytes bytes{0};
  Seconds time{0};
};

/// Of work done; what a chip draws at rest comes beside it.
struct Energy {
  Joules arithmetic{0}, movement{0};
  Joules total() const { return arithmetic + movement; }
};

/// What a collective operator sends, and how.
struct OpMessage {
  std::string collective, axis;       ///< "all_reduce", "tensor"
  std::string level, algorithm;       ///< the network level that takes longest, and what was chosen
  double ranks = 1;
  Bytes bytes{0};                     ///< the whole message, as nccl-tests count
};

/// One distinct operator; figures are of ONE execution on one chip, which happens `count` times in the phase.
struct OpEstimate {
  std::string name;          ///< "layers.0-31.attn.qkv"
  std::string kind;          ///< operator table's name, "gemm"
  double count = 1;          ///< executions by one chip of each pipeline stage, all stages together
  double ranks = 1;          ///< chips that each do this, on their own shard
  std::optional<OpMessage> message;  ///< of a collective
  Format math = Format::bf16;  ///< the number format the arithmetic runs in
  Flops flops{0};            ///< a contraction counts its multiply-adds (2 each); any other operator one per operation
  Flops vector_flops{0};     ///< the part on the vector unit; inside fused attention the softmax, which `flops` leaves out
  std::vector<LevelCost> levels;  ///< as Phase::levels
  Bytes kept_bytes{0};       ///< of weights and KV cache that cross the main memory
  Bytes activation_bytes{0};
  FlopsPerByte intensity{0};      ///< flops / bytes of the chip's main memory
  Seconds t_math{0}, t_mem{0}, t_net{0}, time{0};
  Seconds roofline{0};       ///< the plain roofline, a lower bound: what the operator adds to its kernel's max(T_math, T_mem)
  bool fused = false;        ///< runs inside the kernel of the operator before it
  Seconds time_low{0}, time_high{0};  ///< nine in ten measurements are expected between them; = time where no interval is known
  std::string bound;         ///< "compute", a memory level's name, "network" or "launch"
  Provenance provenance = Provenance::analytic;
  std::optional<Energy> energy;  ///< of one execution on one chip, without idle power
};

struct Total {
  Seconds time{0};
  Seconds time_low{0}, time_high{0};  ///< sums of the operators' intervals
  Seconds roofline{0};                ///< sum of the operators' plain rooflines
  Seconds operators{0};               ///< sum of the operators' times: = time on one chip
  Flops flops{0}, vector_flops{0};
  std::vector<LevelCost> levels;  ///< as Phase::levels; times are sums over operators
  Bytes kept_bytes{0};
  FlopsPerByte intensity{0};
  std::string bound;              ///< what bounds most of the time
  double bound_share = 0;         ///< of the time, 0 to 1
  double tokens = 0;              ///< produced (decode) or taken in (prefill)
  double tokens_per_second = 0;
  double mfu = 0;                 ///< time the contractions would take at the dense peak of each one's format / time
  double mbu = 0;                 ///< (weights + KV cache bytes read) / (time x main memory's bandwidth)
  std::optional<Joules> energy;   ///< of all chips, idle power included; only if the energy of what is done is known
  std::optional<Energy> active_energy;  ///< the part that the work takes
  Joules idle_energy{0};                ///< the rest: idle power x time
  std::optional<Watts> power;     ///< average of one chip
  double power_share = 0;         ///< of its design power; 0: not known
  std::optional<Dollars> cost;    ///< only if the chip has a price
};

/// One layer of a kind: its operators once, and what it keeps.
struct LayerTotal {
  std::string name;               ///< "layers.0-31"
  double count = 1;               ///< such layers in the model
  Flops flops{0}, vector_flops{0};
  Bytes bytes{0};                 ///< crossing the chip's main memory
  Bytes activation_bytes{0};      ///< of them activations read and written
  FlopsPerByte intensity{0};
  Bytes weight_bytes{0};          ///< kept
  Bytes kv_per_token{0};          ///< kept for each token of a sequence
  Seconds time{0};
};

/// One step of one kind of work: prefill, a decode step, or all decode steps of a generation (mean step x count).
struct Phase {
  std::string name;                 ///< "prefill", "decode"
  std::vector<std::string> levels;  ///< memory levels, outermost first: NVMe, DRAM, HBM, L2, ...
  std::size_t main_level = 0;       ///< index of the chip's outermost memory in `levels`
  std::vector<OpEstimate> ops;      ///< in graph order
  std::vector<LayerTotal> layers;   ///< one a kind of layer, in the model's order
  Seconds elapsed{0};               ///< of several chips: as composed from the operators; 0: the operators one after the other
  StepTimeline timeline;            ///< of several chips
  PipelineShape pipeline;           ///< of several stages: what each does
  std::vector<StageTail> tails;     ///< of training, one a stage
  std::vector<NetworkUse> exchanges;  ///< collectives that are no operator of the graph: between stages and data ranks
  Total total;
};

/// A line of the roofline: a compute roof (FLOP/s, value) or a memory slope (B/s, value).
struct Roof {
  std::string name;     ///< "bf16 matrix", "HBM"
  bool memory = false;
  double value = 0;
};

/// What one memory tier of the fullest chip holds.
struct TierUse {
  std::string level;
  Bytes capacity{0};    ///< 0: not stated
  Bytes weights{0}, kv_cache{0}, activations{0};
  Bytes gradients{0}, optimizer{0};
  Bytes used() const { return weights + kv_cache + activations + gradients + optimizer; }
};

struct MemoryUse {
  std::vector<TierUse> tiers;
  bool fits = true;
  double max_batch = 0;           ///< largest batch that fits; 0: not even one sequence
  std::string peak;               ///< when the most is held, and on which stage; "" on one chip
  Bytes kv_per_token{0};          ///< of one sequence, all layers
};

/// Of a training step.
struct TrainingFigures {
  double tokens_per_step = 0, tokens_per_second_per_chip = 0;
  double model_flops_per_chip = 0;  ///< FLOP/s, recomputation not counted
  double hfu = 0;                   ///< as MFU, recomputation counted
  double days = 0, goodput = 1;     ///< of the whole training, if its tokens are given; share of time that is not lost to failures
  std::optional<Goodput> failures;  ///< where the rest goes
};

/// FLOPs of one micro-batch of one replica under a plan, by the operator table; of training forward and backward.
struct PlanFlops {
  double unsharded = 0;   ///< what the model takes on one chip
  double replicated = 0;  ///< key/value heads, norms, routers on several ranks; an expert rank's surplus over its share
  double recomputed = 0;  ///< forward work that the backward pass repeats
};

struct Parameters {
  double total = 0;   ///< all parameters in the graph, tied tables once
  double active = 0;  ///< that one token multiplies with: lm_head counted, looked-up rows not
};

/// Of a generation: first token, further tokens, throughput of the whole batch.
struct Serving {
  Seconds ttft{0}, tpot{0}, latency{0};
  double output_tokens_per_second = 0;
  double request_rate = 0;        ///< requests a second
};

struct Estimate {
  std::string run;                ///< file or command line it came from
  std::string model, model_name, system, chip, chip_name;
  std::vector<std::pair<std::string, std::string>> settings;  ///< workload, precision, ...: key, value, to print
  std::vector<Phase> phases;
  Total total;                    ///< over all phases; levels as phases[0].levels
  std::optional<Serving> serving;
  std::optional<TrainingFigures> training;
  std::optional<SiteFigures> sites;
  std::optional<Pools> pools;
  double chips = 1;
  std::string plan;               ///< "tensor 8, pipeline 8"; "" on one chip
  StepTimeline timeline;
  std::optional<PlanFlops> plan_flops;  ///< of several chips
  std::vector<NetworkUse> network;
  std::vector<std::pair<std::string, Seconds>> next_plans;  ///< of a search: those after the best
  MemoryUse memory;
  Parameters parameters;
  std::vector<Roof> roofs;        ///< formats in use and memory levels
  std::vector<std::pair<std::string, std::string>> sources;  ///< figure -> where it is from
  std::vector<std::string> notes; ///< what was left out, replaced or assumed
  std::string config_hash;        ///< XXH3-128 of the resolved inputs
};

std::string_view to_string(Provenance provenance);

}  // namespace gambrel::sim
