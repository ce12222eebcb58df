#include "sim/read_sections.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/load.hpp"
#include "base/quantity.hpp"
#include "models/op.hpp"
#include "sim/plan/read_plan.hpp"
#include "sim/plan/read_pools.hpp"

namespace gambrel::sim {
namespace {

/// Keys of `workload` that mean something in a phase; the first `required` ones must be there.
struct PhaseKeys {
  std::string_view phase;
  std::vector<std::string_view> required, optional;
};
const std::vector<PhaseKeys>& phase_keys() {
  static const std::vector<PhaseKeys> keys{
      {"prefill", {"batch", "new_tokens"}, {"past_tokens", "logits", "routing"}},
      {"decode", {"batch", "context"}, {"new_tokens", "routing"}},
      {"generate", {"batch", "input", "output"}, {"routing", "prefill_batch"}},
      {"train", {"global_batch", "sequence"}, {"micro_batch", "tokens", "dropout", "routing"}}};
  return keys;
}

Result<void> check_workload_keys(const Node& node, const PhaseKeys& keys) {
  auto list = [](const std::vector<std::string_view>& names) { return fmt::format("{}", fmt::join(names, ", ")); };
  for (std::string_view key : keys.required)
    if (!node.find(key))
      return fail({node.at, fmt::format("workload of phase {} needs '{}'", keys.phase, key), fmt::format("{} takes {}; optional: {}", keys.phase, list(keys.required), list(keys.optional))});
  for (const Member& m : node.members) {
    const bool known = m.key == "phase" || std::ranges::count(keys.required, m.key) || std::ranges::count(keys.optional, m.key);
    if (!known) return fail({m.key_at, fmt::format("'{}' means nothing in phase {}", m.key, keys.phase), fmt::format("{} takes {}; optional: {}", keys.phase, list(keys.required), list(keys.optional))});
  }
  return {};
}

Result<void> read_decode(const Node& node, Workload& w) {
  w.new_tokens = node.number_or("new_tokens", 1);
  const double context = node.number_or("context", 1);
  if (w.new_tokens > context)
    return fail({node.find("new_tokens")->at, fmt::format("new_tokens {} is more than context {}", w.new_tokens, context), "context counts the new tokens too"});
  w.past_tokens = context - w.new_tokens;
  w.all_logits = true;  // each token of the step is sampled or verified
  return {};
}

Result<void> read_workload(const Node& node, Run& run) {
  Workload& w = run.workload;
  run.workload_at = node.at;
  const std::string phase = node.text_or("phase", "");
  const auto keys = std::ranges::find(phase_keys(), phase, &PhaseKeys::phase);
  if (auto valid = check_workload_keys(node, *keys); !valid) return valid;
  w.largest_batch = node.find("batch") && node.find("batch")->is_string();
  w.batch = w.largest_batch ? 1 : node.number_or("batch", 1);
  if (phase == "prefill") {
    w.phase = PhaseKind::prefill;
    w.new_tokens = node.number_or("new_tokens", 1);
    w.past_tokens = node.number_or("past_tokens", 0);
    w.all_logits = node.text_or("logits", "last") == "all";
  } else if (phase == "decode") {
    w.phase = PhaseKind::decode;
    if (auto decoded = read_decode(node, w); !decoded) return decoded;
  } else if (phase == "train") {
    w.phase = PhaseKind::train;
    w.global_batch = node.number_or("global_batch", 1);
    w.micro_batch = node.number_or("micro_batch", 1);
    w.sequence = node.number_or("sequence", 1);
    w.tokens = node.number_or("tokens", 0);
    w.dropout = node.boolean_or("dropout", false);
  } else {
    w.phase = PhaseKind::generate;
    w.input = node.number_or("input", 1);
    w.output = node.number_or("output", 1);
    w.prefill_batch = node.number_or("prefill_batch", 0);
  }
  if (const Node* routing = node.find("routing")) {
    const std::string name = routing->text_or("distribution", "uniform");
    using Kind = models::Routing::Kind;
    w.routing = {name == "balanced" ? Kind::balanced : name == "power_law" ? Kind::power_law : Kind::uniform, routing->number_or("alpha", 1.2)};
  }
  return {};
}

Result<void> read_thinned(const Node& weights, Run& run) {
  using Structure = models::WeightSparsity::Structure;
  using Index = models::WeightSparsity::Index;
  const bool block = weights.text_or("structure", "") == "block";
  const Node *side = weights.find("block"), *index = weights.find("index");
  if (side && !block) return fail({side->at, "'block' is of structure block", "structure: block, or leave it out"});
  if (index && block) return fail({index->at, "'index' is of structure unstructured", "structure: unstructured, or leave it out"});
  run.sparsity = {.structure = block ? Structure::block : Structure::unstructured, .density = weights.number_or("density", 1),
                  .index = weights.text_or("index", "bitmap") == "csr" ? Index::csr : Index::bitmap, .block = static_cast<int>(weights.number_or("block", 0))};
  return {};
}

Result<void> read_pattern(const Node& weights, Run& run) {
  if (weights.text == "none") return {};
  int n = 0, m = 0;
  const char* end = weights.text.data() + weights.text.size();
  const auto [colon, e] = std::from_chars(weights.text.data(), end, n);
  const bool parsed = e == std::errc{} && colon != end && *colon == ':' && std::from_chars(colon + 1, end, m).ptr == end;
  if (!parsed || n < 1 || m <= n || m > 1024)
    return fail({weights.at, fmt::format("'{}' is not a sparsity", weights.text), "write none, N:M with 0 < N < M as in \"2:4\", or {density: 0.5, structure: unstructured}"});
  run.sparsity = {models::WeightSparsity::Structure::n_of_m, static_cast<double>(n) / m, n, m};
  run.sparsity_pattern = fmt::format("{}:{}", n, m);
  return {};
}

bool rectifies(const models::LayerSpec& layer) {
  return layer.dense && (layer.dense->activation == models::Activation::relu || layer.dense->activation == models::Activation::relu2);
}

/// Zeros that the tokens bring about: only where something makes them, and where a step needs no gradients.
Result<void> read_data_sparsity(const Node& node, Run& run) {
  const Node *activations = node.find("activations"), *attention = node.find("attention");
  if ((activations || attention) && run.workload.phase == PhaseKind::train)
    return fail({(activations ? activations : attention)->at, "zeros that the tokens bring about are modelled in inference only", "leave it out, or take another phase"});
  const auto some = [&](auto test) { return std::ranges::any_of(run.model.layers, [&](const models::LayerGroup& g) { return std::ranges::any_of(g.pattern, test); }); };
  if (activations && !some(rectifies))
    return fail({activations->at, fmt::format("no feed-forward layer of {} makes zeros: that takes relu or relu2 without a gate", run.model.id), "leave it out"});
  const auto full = [](const models::LayerSpec& l) { return l.latent || (l.attention && l.attention->window == 0 && l.attention->chunk == 0); };
  if (attention && !some(full)) return fail({attention->at, fmt::format("no layer of {} attends to all tokens", run.model.id), "leave it out: windows are sparse already"});
  if (activations) run.data_sparsity.activations = activations->number_or("density", 1);
  if (attention) run.data_sparsity.attention = attention->number_or("density", 1);
  return {};
}

Result<void> read_sparsity(const Node& node, Run& run) {
  if (auto read = read_data_sparsity(node, run); !read) return read;
  const Node* weights = node.find("weights");
  if (!weights || weights->is_null()) return {};
  return weights->is_mapping() ? read_thinned(*weights, run) : read_pattern(*weights, run);
}

Result<std::vector<std::string>> read_levels(const Node& node, std::string_view key, const hw::Chip& chip) {
  const Node* value = node.find(key);
  if (!value || value->is_null()) return std::vector<std::string>{};
  std::vector<std::string> known, result;
  for (const auto& level : chip.memory) known.push_back(level.level);
  for (const auto& level : chip.host_memory) known.push_back(level.level);
  for (const Node& item : value->is_sequence() ? value->items : std::vector<Node>{*value}) {
    if (!std::ranges::count(known, item.text))
      return fail({item.at, fmt::format("{} has no memory level '{}'", chip.id, item.text), fmt::format("it has {}", fmt::join(known, ", "))});
    if (std::ranges::count(result, item.text)) return fail({item.at, fmt::format("level '{}' is listed twice", item.text), "levels are filled one after the other"});
    result.push_back(item.text);
  }
  return result;
}

Result<void> read_placement(const Node& node, Run& run) {
  for (auto [key, field] : {std::pair{"weights", &run.placement.weights}, {"kv_cache", &run.placement.kv_cache}, {"experts_cold", &run.placement.experts}}) {
    auto levels = read_levels(node, key, run.system.chip());
    if (!levels) return fail(levels.error());
    *field = *levels;
  }
  return {};
}

Result<void> read_assume(const Node& node, Run& run) {
  std::vector<std::string> kinds;
  for (const auto& row : models::op_table()) kinds.emplace_back(row.name);
  for (const Member& m : node.members) {
    if (!std::ranges::count(kinds, m.key)) {
      const std::string near = nearest(m.key, kinds);
      return fail({m.key_at, fmt::format("'{}' is no kind of operator", m.key), near.empty() ? fmt::format("kinds are {}", fmt::join(kinds, ", ")) : fmt::format("did you mean '{}'?", near)});
    }
    run.assume.emplace_back(m.key, m.value.number);
  }
  return {};
}

Result<void> read_failures(const Node& node, Run& run) {
  if (run.workload.phase != PhaseKind::train) return fail({node.at, "reliability is of a training run, and this is none", "workload: {phase: train, ...}, or leave reliability: out"});
  auto reliability = read_reliability(node);
  if (!reliability) return fail(reliability.error());
  run.reliability = *reliability;
  return {};
}

/// One plan, or one for each pool, whose chips may have other memory levels.
Result<void> read_plans(const Node& document, Run& run) {
  const Node* prefill_batch = document.find("workload")->find("prefill_batch");
  if (!on_pools(document, run)) {
    if (prefill_batch) return fail({prefill_batch->at, "prefill_batch needs a pool of its own for prefill", "plan: {prefill: {...}, decode: {...}}, or leave it out"});
    return read_plan(document, run);
  }
  if (auto read = read_pools(document, run); !read) return read;
  if (const Node* placement = document.find("placement"))
    for (Run& pool : run.pools)
      if (auto read = read_placement(*placement, pool); !read) return read;
  return {};
}

/// A section as one line for the report: "phase decode, batch 32, context 8192".
std::string one_line(const Node& section) {
  if (section.is_mapping()) {
    std::vector<std::string> parts;
    for (const Member& m : section.members) parts.push_back(m.value.is_mapping() || m.value.is_sequence() ? fmt::format("{} {}", m.key, to_json(m.value, -1)) : fmt::format("{} {}", m.key, m.value.text));
    return fmt::format("{}", fmt::join(parts, ", "));
  }
  return section.text;
}

}  // namespace

Result<void> read_sections(const Node& document, Run& run) {
  if (auto read = read_workload(*document.find("workload"), run); !read) return read;
  if (const Node* node = document.find("precision")) {
    auto precision = models::read_precision(*node);
    if (!precision) return fail(precision.error());
    run.precision = *precision;
    if (auto read = read_training_precision(*node, run.training); !read) return read;
  }
  if (const Node* node = document.find("sparsity"))
    if (auto read = read_sparsity(*node, run); !read) return read;
  if (const Node* node = document.find("fusion")) {
    run.fused_attention = node->boolean_or("attention", true);
    run.fused_experts = node->boolean_or("experts", true);
    run.fusion.norms = node->boolean_or("norms", true);
    run.fusion.rotary = node->boolean_or("rotary", true);
    if (node->find("activation")) run.fusion.activation = node->boolean_or("activation", true) ? models::Epilogue::all : models::Epilogue::none;
  }
  if (const Node* node = document.find("placement")) {
    if (run.workload.phase == PhaseKind::train)
      return fail({node->at, "a training step keeps everything in main memory: tiers are for inference", "leave `placement` out; `plan: {zero: 1 to 3}` and `recompute` make room"});
    if (auto read = read_placement(*node, run); !read) return read;
  }
  if (const Node* node = document.find("overhead"))
    run.host_overhead = parse_quantity<Seconds>(node->text_or("step", "0 s")).value_or(Seconds{0});
  if (const Node* node = document.find("assume"))
    if (auto read = read_assume(*node, run); !read) return read;
  run.calibrated = document.text_or("cost_model", "calibrated") == "calibrated";
  if (const Node* node = document.find("reliability"))
    if (auto read = read_failures(*node, run); !read) return read;
  if (auto read = read_plans(document, run); !read) return read;
  for (std::string_view key : {"workload", "precision", "sparsity", "fusion", "placement", "plan", "chips", "reliability", "overhead", "assume", "cost_model"})
    if (const Node* node = document.find(key)) run.settings.emplace_back(key, one_line(*node));
  return {};
}

}  // namespace gambrel::sim
