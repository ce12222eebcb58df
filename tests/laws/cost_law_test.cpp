// Laws of the roofline on shipped models and chips, under random workloads.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/catalog.hpp"
#include "base/load.hpp"
#include "models/build.hpp"
#include "reports/report.hpp"
#include "sim/cost_model.hpp"
#include "sim/explain.hpp"
#include "sim/predict.hpp"

namespace gambrel {
namespace {

using sim::Estimate;
using sim::Run;

const Catalog& shipped() {
  static const Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  return catalog;
}

Run read(const std::string& model, const std::string& system) {
  auto document = parse_yaml(fmt::format("model: {}\nsystem: {}\nworkload: {{phase: decode, batch: 1, context: 2}}\ncost_model: roofline\n", model, system), "law.yaml");
  RC_ASSERT(document.has_value());
  auto run = sim::read_run(shipped(), *document, {});
  RC_ASSERT(run.has_value());
  return *run;
}

/// Dense, experts, latent attention, windows, a Mamba hybrid; each read once.
const Run& model_run(const std::string& name) {
  static std::map<std::string, Run> runs;
  const auto known = runs.find(name);
  return known != runs.end() ? known->second : runs.emplace(name, read(name, "h100-sxm")).first->second;
}
const hw::System& machine(const std::string& name) {
  static std::map<std::string, hw::System> systems;
  const auto known = systems.find(name);
  return known != systems.end() ? known->second : systems.emplace(name, read("gpt2", name).system).first->second;
}

const std::vector<std::string> dense{"llama-3.1-8b", "gpt2", "gemma-3-1b", "qwen3-8b", "falcon-7b"};
const std::vector<std::string> all_kinds{"llama-3.1-8b", "gpt2", "gemma-3-1b", "mixtral-8x7b", "deepseek-v2-lite", "gpt-oss-20b", "nemotron-h-8b", "qwen3-30b-a3b"};

void set_prefill(Run& run) {
  run.workload.phase = sim::PhaseKind::prefill;
  run.workload.new_tokens = *rc::gen::inRange(1, 5000);
  run.workload.past_tokens = *rc::gen::inRange(0, 5000);
}
void set_decode(Run& run) {
  run.workload.phase = sim::PhaseKind::decode;
  run.workload.new_tokens = *rc::gen::element(1, 1, 1, 4);
  run.workload.past_tokens = *rc::gen::inRange(0, 50000);
  run.workload.all_logits = true;
}

/// A random model on a random chip doing random work.
Run any_run(const std::vector<std::string>& models = all_kinds) {
  Run run = model_run(*rc::gen::elementOf(models));
  run.system = machine(*rc::gen::elementOf(shipped().names("chips")));
  run.workload.batch = *rc::gen::inRange(1, 300);
  *rc::gen::arbitrary<bool>() ? set_prefill(run) : set_decode(run);
  run.fused_attention = *rc::gen::arbitrary<bool>();
  run.fused_experts = *rc::gen::arbitrary<bool>();
  run.fusion = {*rc::gen::arbitrary<bool>(), *rc::gen::element(models::Epilogue::none, models::Epilogue::simple, models::Epilogue::all), *rc::gen::arbitrary<bool>()};
  if (*rc::gen::arbitrary<bool>()) run.precision.all.weights = *rc::gen::element(Format::fp8_e4m3, Format::mxfp4, Format::int8, Format::fp32);
  return run;
}

Estimate predict(const Run& run) {
  auto estimate = sim::estimate(run);
  RC_ASSERT(estimate.has_value());
  return std::move(*estimate);
}

hw::Chip& chip_of(Run& run) { return run.system.pools.front().chip; }

void scale_rates(hw::Chip& chip, double k) {
  for (auto& unit : chip.compute)
    for (auto& [format, rate] : unit.peak) rate *= k;
  for (auto* memories : {&chip.memory, &chip.host_memory})
    for (auto& level : *memories) level.bandwidth *= k;
  chip.host_link *= k;
}

bool near(double a, double b, double tolerance = 1e-9) { return std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b)); }

TEST_CASE("law: more of any rate is never slower") {
  CHECK(rc::check("more", [] {
    const Run before = any_run();
    Run after = before;
    hw::Chip& chip = chip_of(after);
    const double k = *rc::gen::inRange(100, 1000) / 100.0;
    const auto which = *rc::gen::inRange<std::size_t>(0, chip.compute.size() + chip.memory.size());
    if (which < chip.compute.size())
      for (auto& [format, rate] : chip.compute[which].peak) rate *= k;
    else chip.memory[which - chip.compute.size()].bandwidth *= k;
    return predict(after).total.time.value <= predict(before).total.time.value * (1 + 1e-12);
  }));
}

TEST_CASE("law: k times every rate is a k-th of every time") {
  CHECK(rc::check("scaling", [] {
    const Run before = any_run();
    Run after = before;
    const double k = *rc::gen::inRange(1, 1000) / 37.0;
    scale_rates(chip_of(after), k);
    const Estimate a = predict(before), b = predict(after);
    for (std::size_t i = 0; i < a.phases[0].ops.size(); ++i)
      if (!near(a.phases[0].ops[i].time.value, k * b.phases[0].ops[i].time.value)) return false;
    return near(a.total.time.value, k * b.total.time.value) && near(a.total.mfu, b.total.mfu) && near(a.total.mbu, b.total.mbu);
  }));
}

TEST_CASE("law: no faster than all FLOPs at the highest peak, nor than all bytes of any level at its bandwidth") {
  CHECK(rc::check("roofline", [] {
    const Run run = any_run();
    const Estimate e = predict(run);
    double peak = 0;
    for (const auto& unit : run.system.chip().compute)
      for (const auto& [format, rate] : unit.peak) peak = std::max(peak, rate.value);
    const double slack = 1 + 1e-12;
    double flops = 0;  // of kernels; the vector work fused into one runs beside its products
    for (const sim::OpEstimate& op : e.phases[0].ops) flops += op.fused ? 0 : op.count * op.flops.value;
    if (e.total.time.value * slack < flops / peak) return false;
    for (std::size_t i = 0; i < e.total.levels.size(); ++i)
      if (e.total.time.value * slack < e.total.levels[i].time.value) return false;
    return e.total.mfu <= slack && e.total.mbu <= slack;
  }));
}

TEST_CASE("law: each operator's time is the longest of its arithmetic and its levels, and its bound is which; fused, at most that") {
  CHECK(rc::check("operators", [] {
    const Estimate e = predict(any_run());
    for (const sim::OpEstimate& op : e.phases[0].ops) {
      double slowest = 0, of_bound = op.t_math.value;
      for (std::size_t i = 0; i < op.levels.size(); ++i) {
        slowest = std::max(slowest, op.levels[i].time.value);
        if (e.phases[0].levels[i] == op.bound) of_bound = op.levels[i].time.value;
      }
      const double alone = std::max(op.t_math.value, slowest);
      if (!near(op.t_mem.value, slowest) || !near(alone, of_bound) || op.time != op.roofline) return false;
      if (op.fused ? op.time.value > alone * (1 + 1e-9) || op.time.value < 0 : !near(op.time.value, alone)) return false;
    }
    return true;
  }));
}

TEST_CASE("law: twice the batch takes at least as long and at most twice") {
  CHECK(rc::check("batch", [] {
    const Run before = any_run(*rc::gen::arbitrary<bool>() ? dense : all_kinds);
    Run after = before;
    after.workload.batch *= 2;
    const double one = predict(before).total.time.value, two = predict(after).total.time.value;
    return two >= one * (1 - 1e-12) && two <= 2 * one * (1 + 1e-12);
  }));
}

TEST_CASE("law: a longer past is never faster, in FLOPs, bytes or time") {
  CHECK(rc::check("past", [] {
    const Run before = any_run({"llama-3.1-8b", "gpt2", "gemma-3-1b", "deepseek-v2-lite"});
    Run after = before;
    after.workload.past_tokens += *rc::gen::inRange(1, 10000);
    const sim::Total a = predict(before).total, b = predict(after).total;
    const double slack = 1 - 1e-12;
    return b.time.value >= slack * a.time.value && b.flops.value >= slack * a.flops.value && b.levels[0].bytes.value >= slack * a.levels[0].bytes.value;
  }));
}

TEST_CASE("law: bytes are linear in the width of the weights, and of the cache") {
  CHECK(rc::check("width", [] {
    Run run = any_run();
    const bool cache = *rc::gen::arbitrary<bool>();
    run.precision = {};
    run.precision.all.weights = run.precision.all.activations = run.precision.all.kv_cache = Format::bf16;
    const auto bytes = [&](Format format) {
      Run one = run;
      (cache ? one.precision.all.kv_cache : one.precision.all.weights) = format;
      return predict(one).total.levels[0].bytes.value;
    };
    const double b4 = bytes(Format::int4), b8 = bytes(Format::int8), b16 = bytes(Format::fp16), b32 = bytes(Format::fp32);
    return near(b16 - b8, 2 * (b8 - b4), 1e-6) && near(b32 - b16, 2 * (b16 - b8), 1e-6) && b8 > b4;
  }));
}

TEST_CASE("law: all of a model at twice the width is twice its bytes kept") {
  CHECK(rc::check("kept", [] {
    Run run = any_run(dense);
    const auto kept = [&](Format format) {
      run.precision.all = {DataType(format), DataType(format), DataType(format), {}};
      return predict(run).total.kept_bytes.value;
    };
    return near(kept(Format::fp32), 2 * kept(Format::bf16));
  }));
}

TEST_CASE("law: totals are the rows times their counts") {
  CHECK(rc::check("totals", [] {
    const Estimate e = predict(any_run());
    double time = 0, flops = 0, share = 0;
    std::vector<double> bytes(e.phases[0].levels.size(), 0.0);
    for (const sim::OpEstimate& op : e.phases[0].ops) {
      time += op.count * op.time.value;
      flops += op.count * op.flops.value;
      if (op.bound == e.total.bound) share += op.count * op.time.value;
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] += op.count * op.levels[i].bytes.value;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i)
      if (!near(bytes[i], e.total.levels[i].bytes.value)) return false;
    return near(time, e.total.time.value) && near(flops, e.total.flops.value) && near(share / time, e.total.bound_share);
  }));
}

TEST_CASE("law: what the tiers hold is what the run needs, wherever it is placed, and no tier but the last overflows") {
  CHECK(rc::check("memory", [] {
    Run run = any_run();
    run.system = machine("dgx-h100");
    static const std::vector<std::vector<std::string>> places{{}, {"HBM"}, {"HBM", "DRAM"}, {"L2", "HBM"}, {"HBM", "DRAM", "NVMe"}, {"NVMe"}};
    const auto place = [] { return *rc::gen::elementOf(places); };
    run.placement = {place(), place(), place()};
    const Estimate e = predict(run);
    const models::Graph graph = models::build(run.model, run.policy(), run.step(run.workload.batch, run.workload.new_tokens, run.workload.past_tokens));
    using models::Role;
    double weights = 0, cache = 0, activations = 0;
    bool over = false;
    for (const sim::TierUse& tier : e.memory.tiers) {
      weights += tier.weights.value, cache += tier.kv_cache.value, activations += tier.activations.value;
      over = over || (tier.capacity.value > 0 && tier.used().value > tier.capacity.value * (1 + 1e-12));
    }
    return e.total.mbu <= 1 + 1e-12 && near(weights, models::stored_bytes(graph, Role::weight) + models::stored_bytes(graph, Role::expert_weight)) &&
           near(cache, models::stored_bytes(graph, Role::kv_cache) + models::stored_bytes(graph, Role::state)) &&
           near(activations, graph.peak_activation_bytes()) && over == !e.memory.fits;
  }));
}

TEST_CASE("law: the largest batch fits and the next one does not") {
  CHECK(rc::check("largest", [] {
    Run run = any_run();
    const double largest = predict(run).memory.max_batch;
    run.workload.batch = largest + 1;
    if (predict(run).memory.fits) return false;
    run.workload.batch = std::max(largest, 1.0);
    return predict(run).memory.fits == (largest >= 1);
  }));
}

TEST_CASE("law: a placement further out is never faster") {
  CHECK(rc::check("tiers", [] {
    Run near_run = any_run();
    near_run.system = machine("dgx-h100");
    Run far_run = near_run;
    const bool cache = *rc::gen::arbitrary<bool>(), disk = *rc::gen::arbitrary<bool>();
    (cache ? far_run.placement.kv_cache : far_run.placement.weights).emplace_back(disk ? "NVMe" : "DRAM");
    return predict(far_run).total.time.value >= predict(near_run).total.time.value * (1 - 1e-12);
  }));
}

TEST_CASE("law: an efficiency e divides the times of its kind by e and leaves the others") {
  CHECK(rc::check("assume", [] {
    const Run plain = any_run();
    Run assumed = plain;
    const double e = *rc::gen::inRange(1, 100) / 100.0;
    const std::string kind(models::op_table()[*rc::gen::inRange<std::size_t>(0, models::op_kind_count)].name);
    assumed.assume = {{kind, e}};
    const Estimate a = predict(plain), b = predict(assumed);
    for (std::size_t i = 0; i < a.phases[0].ops.size(); ++i) {
      const sim::OpEstimate &x = a.phases[0].ops[i], &y = b.phases[0].ops[i];
      if (!near(y.time.value, x.kind == kind ? x.time.value / e : x.time.value) || y.bound != x.bound) return false;
    }
    return true;
  }));
}

TEST_CASE("law: explained differences sum to the difference") {
  CHECK(rc::check("explain", [] {
    const Estimate a = predict(any_run()), b = predict(any_run());
    const sim::Explanation e = sim::explain(a, b);
    double sum = 0, of_a = 0, largest = 0;
    for (const sim::Difference& d : e.differences) {
      sum += d.delta.value;
      of_a += d.a.time.value;
      largest = std::max(largest, std::abs(d.delta.value));
    }
    const double scale = e.time_a.value + e.time_b.value;
    return std::abs(sum - (e.time_b - e.time_a).value) <= 1e-9 * scale && near(of_a, e.time_a.value) && (e.differences.empty() || std::abs(e.differences[0].delta.value) == largest);
  }));
}

TEST_CASE("law: the evaluation alone agrees with the estimate") {
  CHECK(rc::check("fast path", [] {
    const Run run = any_run();
    const models::Graph graph = models::fuse(models::build(run.model, run.policy(), run.step(run.workload.batch, run.workload.new_tokens, run.workload.past_tokens)), run.fusion);
    const sim::Machine chip = sim::make_machine(run.system.chip(), run.placement, run.sparsity_pattern);
    const sim::CostModel model(chip, sim::fit(chip, run.placement, sim::demand_of(graph)).shares, run.assume);
    sim::Costs scratch;
    return near(model.total_time(models::lower(graph), scratch), predict(run).total.time.value, 1e-12);
  }));
}

TEST_CASE("law: a generation is longer by each further token, and its first token does not depend on them") {
  CHECK(rc::check("generation", [] {
    Run run = any_run();
    run.workload.phase = sim::PhaseKind::generate;
    run.workload.all_logits = false;
    run.workload.input = *rc::gen::inRange(1, 3000);
    run.workload.output = *rc::gen::inRange(1, 3000);
    Run longer = run;
    longer.workload.output += *rc::gen::inRange(1, 1000);
    const Estimate a = predict(run), b = predict(longer);
    return b.total.time.value > a.total.time.value && a.serving->ttft == b.serving->ttft && near(b.serving->ttft.value + (longer.workload.output - 1) * b.serving->tpot.value, b.serving->latency.value);
  }));
}

TEST_CASE("law: the same run gives the same text, to the byte") {
  CHECK(rc::check("determinism", [] {
    const Run run = any_run();
    const Estimate a = predict(run), b = predict(run);
    for (auto format : {reports::TextFormat::table, reports::TextFormat::json, reports::TextFormat::csv, reports::TextFormat::markdown})
      if (reports::write_estimate(a, format) != reports::write_estimate(b, format)) return false;
    return true;
  }));
}

}  // namespace
}  // namespace gambrel
