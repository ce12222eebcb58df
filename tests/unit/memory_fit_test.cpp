// What lies where: lists of levels filled in order, and what does not fit.
#include "sim/memory_fit.hpp"

#include <cmath>

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;
using models::Role;
using sim::Demand;
using sim::Fit;
using sim::Machine;
using sim::Placement;

namespace {

/// 100 B of HBM over 10 B of SRAM; DRAM of 1000 B and a disk without a stated capacity behind.
hw::Chip tiered() {
  SmallChip small;
  small.memory = {{.level = "HBM", .capacity = Bytes{100}, .bandwidth = BytesPerSecond{1e12}}, {.level = "SRAM", .capacity = Bytes{10}, .bandwidth = BytesPerSecond{8e12}}};
  hw::Chip chip = chip_of(small);
  chip.host_memory = {{.level = "DRAM", .capacity = Bytes{1000}, .bandwidth = BytesPerSecond{1e11}}, {.level = "disk", .bandwidth = BytesPerSecond{1e9}}};
  return chip;
}

struct Case {
  Machine machine;
  Fit fit;
  Case(const Placement& placement, const Demand& demand) : machine(sim::make_machine(tiered(), placement, "")), fit(sim::fit(machine, placement, demand)) {}
  double share(Role role, std::string_view level) const { return fit.shares[static_cast<std::size_t>(role)][machine.index(level)]; }
  /// "level weights/kv/activations" of each tier.
  std::string tiers() const {
    std::string text;
    for (const sim::TierUse& t : fit.tiers) text += fmt::format("{}{} {}/{}/{}", text.empty() ? "" : ", ", t.level, t.weights.value, t.kv_cache.value, t.activations.value);
    return text;
  }
};

}  // namespace

TEST_CASE("fit: without a placement everything lies in main memory") {
  const Case c({}, {.weights = 40, .experts = 20, .kv_cache = 30, .activations = 10});
  CHECK(c.fit.fits);
  CHECK(c.tiers() == "HBM 60/30/10");
  for (Role role : {Role::weight, Role::expert_weight, Role::kv_cache, Role::state, Role::activation}) CHECK(c.share(role, "HBM") == 1);
}

TEST_CASE("fit: exactly full fits, a byte more does not") {
  CHECK(Case({}, {.weights = 100}).fit.fits);
  const Case c({}, {.weights = 101});
  CHECK_FALSE(c.fit.fits);
  CHECK(c.tiers() == "HBM 101/0/0");  // what it would take is shown
  CHECK(c.share(Role::weight, "HBM") == 1);
}

TEST_CASE("fit: a list is filled level by level") {
  const Case c({.weights = {"HBM"}, .kv_cache = {"HBM", "DRAM"}}, {.weights = 50, .kv_cache = 200, .activations = 10});
  CHECK(c.fit.fits);
  CHECK(c.tiers() == "DRAM 0/160/0, HBM 50/40/10");
  CHECK(c.share(Role::kv_cache, "HBM") == doctest::Approx(0.2));
  CHECK(c.share(Role::kv_cache, "DRAM") == doctest::Approx(0.8));
  CHECK(c.share(Role::state, "DRAM") == doctest::Approx(0.8));
  CHECK(c.share(Role::weight, "HBM") == 1);
}

TEST_CASE("fit: of what may spill, weights come first, then the cache, then experts") {
  const Case c({.weights = {"HBM", "DRAM"}, .kv_cache = {"HBM", "DRAM"}}, {.weights = 80, .experts = 40, .kv_cache = 30, .activations = 10});
  CHECK(c.tiers() == "DRAM 40/20/0, HBM 80/10/10");
  CHECK(c.share(Role::weight, "HBM") == 1);
  CHECK(c.share(Role::kv_cache, "HBM") == doctest::Approx(1.0 / 3));
  CHECK(c.share(Role::expert_weight, "DRAM") == 1);
}

TEST_CASE("fit: what has one place only takes it before what may spill") {
  const Case c({.weights = {"HBM", "DRAM"}, .kv_cache = {"HBM"}}, {.weights = 80, .experts = 40, .kv_cache = 70, .activations = 10});
  CHECK(c.fit.fits);
  CHECK(c.tiers() == "DRAM 100/0/0, HBM 20/70/10");
  CHECK(c.share(Role::weight, "HBM") == doctest::Approx(0.25));
  const Case cold({.experts = {"HBM", "DRAM"}}, {.weights = 30, .experts = 90, .kv_cache = 40});
  CHECK(cold.fit.fits);
  CHECK(cold.tiers() == "DRAM 60/0/0, HBM 60/40/0");
}

TEST_CASE("fit: experts can lie elsewhere; without a word they go with the weights") {
  const Case apart({.experts = {"DRAM"}}, {.weights = 20, .experts = 60, .kv_cache = 10});
  CHECK(apart.tiers() == "DRAM 60/0/0, HBM 20/10/0");
  const Case together({.weights = {"DRAM"}}, {.weights = 20, .experts = 60, .kv_cache = 10});
  CHECK(together.tiers() == "DRAM 80/0/0, HBM 0/10/0");
}

TEST_CASE("fit: the last level named takes the rest and is full or not") {
  const Case spilt({.kv_cache = {"HBM", "DRAM"}}, {.weights = 60, .kv_cache = 2000});
  CHECK_FALSE(spilt.fit.fits);
  CHECK(spilt.tiers() == "DRAM 0/1960/0, HBM 60/40/0");
  const Case endless({.kv_cache = {"HBM", "DRAM", "disk"}}, {.weights = 60, .kv_cache = 2000});
  CHECK(endless.fit.fits);
  CHECK(endless.tiers() == "disk 0/960/0, DRAM 0/1000/0, HBM 60/40/0");
}

TEST_CASE("fit: levels within the chip can hold data too; empty ones are not shown") {
  const Case c({.kv_cache = {"SRAM", "HBM"}}, {.weights = 60, .kv_cache = 30});
  CHECK(c.tiers() == "HBM 60/20/0, SRAM 0/10/0");
  CHECK(c.share(Role::kv_cache, "SRAM") == doctest::Approx(1.0 / 3));
}

TEST_CASE("fit: what is not there lies, all of it, in the first level named") {
  const Case c({.experts = {"DRAM", "HBM"}}, {.weights = 10});
  CHECK(c.share(Role::expert_weight, "DRAM") == 1);
  CHECK(c.share(Role::kv_cache, "HBM") == 1);
}

TEST_CASE("fit: a memory already overfull takes nothing more of a list") {
  const Case c({.kv_cache = {"HBM", "DRAM"}}, {.weights = 150, .kv_cache = 20});
  CHECK_FALSE(c.fit.fits);
  CHECK(c.share(Role::kv_cache, "HBM") == 0);
  CHECK(c.share(Role::kv_cache, "DRAM") == 1);
}

TEST_CASE("demand: Llama-3.1-8B's weights and cache, to the byte") {
  const sim::Run run = run_of("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 8192}\n");
  const Demand demand = sim::demand_of(models::build(run.model, run.policy(), run.step(32, 1, 8191)));
  CHECK(demand.weights == 2.0 * 8030261248);
  CHECK(demand.experts == 0);
  CHECK(demand.kv_cache == 32.0 * 8192 * 32 * 2 * 8 * 128 * 2);
  CHECK(demand.activations > 2.0 * 32 * 128256);  // the logits at least
  CHECK(demand.activations < 1e8);
}

TEST_CASE("largest batch: fits, and one sequence more does not") {
  const std::string text = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: max, context: 8192}\n";
  const sim::Estimate e = estimate_of(text);
  CHECK(e.memory.fits);
  CHECK(e.memory.max_batch == std::floor(e.memory.max_batch));
  CHECK(e.total.tokens == e.memory.max_batch);
  const double free = 80e9 - 2.0 * 8030261248, each = 8192.0 * 32 * 2 * 8 * 128 * 2;
  CHECK(e.memory.max_batch <= free / each);
  CHECK(e.memory.max_batch >= 0.98 * free / each - 1);
  const auto with = [&](double batch) { return estimate_of(text, {fmt::format("workload.batch={}", batch)}).memory; };
  CHECK(with(e.memory.max_batch).fits);
  CHECK_FALSE(with(e.memory.max_batch + 1).fits);
  CHECK(with(1).max_batch == e.memory.max_batch);  // reported whatever batch is asked for
}

TEST_CASE("largest batch: of a generation counts the cache at its end, and not one token that is never fed back") {
  const std::string start = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: ";
  const sim::Estimate generate = estimate_of(start + "{phase: generate, batch: 8, input: 1, output: 4096}\n");
  CHECK(generate.memory.tiers[0].kv_cache.value == 8.0 * 4096 * 131072);
  const sim::Estimate one = estimate_of(start + "{phase: generate, batch: 8, input: 64, output: 1}\n");
  CHECK(one.memory.tiers[0].kv_cache.value == 8.0 * 64 * 131072);
}

TEST_CASE("largest batch: not even one fits") {
  const std::string text = "model: llama-3.1-70b\nsystem: h100-sxm\nworkload: {phase: decode, batch: max, context: 128}\n";
  const auto refused = sim::estimate(run_of(text));
  REQUIRE_FALSE(refused.has_value());
  CHECK(placed(refused.error()) == "run.yaml:3:11: not even one sequence of llama-3.1-70b fits into h100-sxm | a shorter context, a narrower precision, more chips, or a placement with host tiers\n");
  const sim::Estimate anyway = estimate_of(text, {"workload.batch=1"});
  CHECK_FALSE(anyway.memory.fits);
  CHECK(anyway.memory.max_batch == 0);
}
