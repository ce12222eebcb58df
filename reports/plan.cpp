#include "reports/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "reports/fleet.hpp"
#include "reports/format.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {


std::string timeline_text(const sim::StepTimeline& t, Seconds whole) {
  std::string words;
  for (const auto& [name, part] : {std::pair{"compute", t.compute}, {"exposed network", t.exposed_network}, {"pipeline bubble", t.bubble}, {"host", t.overhead}})
    if (part.value > 0) words += fmt::format("{}{} {}", words.empty() ? "" : ", ", name, percent(part / whole));
  if (t.overlap.value > 0) words += fmt::format("; network hidden behind compute {}", spoken(t.overlap));
  return words;
}

std::vector<const sim::NetworkUse*> longest_first(const sim::Estimate& run) {
  std::vector<const sim::NetworkUse*> uses;
  for (const sim::NetworkUse& use : run.network) uses.push_back(&use);
  std::ranges::stable_sort(uses, std::greater{}, [](const sim::NetworkUse* u) { return u->time.value * u->count; });
  return uses;
}

Node network_node(const sim::Estimate& run) {
  Node list = Node::sequence();
  for (const sim::NetworkUse& use : run.network) {
    Node& node = list.append(Node::mapping());
    node.set("collective", shown(use.collective));
    node.set("axis", shown(use.axis));
    node.set("ranks", number(use.ranks));
    node.set("level", shown(use.level));
    node.set("algorithm", shown(use.algorithm));
    node.set("bytes", number(use.bytes.value));
    node.set("time_s", number(use.time.value));
    node.set("count", number(use.count));
  }
  return list;
}

Node timeline_node(const sim::StepTimeline& t) {
  Node node = Node::mapping();
  node.set("compute_s", number(t.compute.value));
  node.set("exposed_network_s", number(t.exposed_network.value));
  node.set("bubble_s", number(t.bubble.value));
  node.set("overhead_s", number(t.overhead.value));
  node.set("overlap_s", number(t.overlap.value));
  return node;
}

Node plan_flops_node(const sim::PlanFlops& flops) {
  Node node = Node::mapping();
  node.set("unsharded", number(flops.unsharded));
  node.set("replicated", number(flops.replicated));
  node.set("recomputed", number(flops.recomputed));
  return node;
}

/// Nothing where a plan computes just what one chip would.
std::string plan_flops_text(const sim::PlanFlops& flops) {
  std::string words;
  for (const auto& [what, part] : {std::pair{"replicated (key/value heads, norms, routers, an expert rank's surplus)", flops.replicated}, {"recomputed", flops.recomputed}})
    if (std::abs(part) >= 5e-5 * flops.unsharded) words += fmt::format("{}{:+.3g}% {}", words.empty() ? "" : ", ", 100 * part / flops.unsharded, what);
  return words;
}

Node training_node(const sim::TrainingFigures& t) {
  Node node = Node::mapping();
  node.set("tokens_per_step", number(t.tokens_per_step));
  node.set("tokens_per_s_per_chip", number(t.tokens_per_second_per_chip));
  node.set("model_flops_per_s_per_chip", number(t.model_flops_per_chip));
  node.set("hfu", number(t.hfu));
  node.set("goodput", number(t.goodput));
  node.set("checkpoint_interval_s", t.failures ? number(t.failures->interval) : Node{});
  node.set("failures_per_day", t.failures ? number(t.failures->failures_per_day) : Node{});
  node.set("days", t.days > 0 ? number(t.days) : Node{});
  return node;
}

}  // namespace

std::vector<Line> plan_lines(const sim::Estimate& run) {
  std::vector<Line> lines;
  if (run.chips > 1) {
    lines.emplace_back("chips", run.pools ? fmt::format("{}: {}", run.chips, run.plan) : fmt::format("{} x {}: {}", run.chips, run.chip_name, run.plan));
    lines.emplace_back("step", timeline_text(run.timeline, run.total.time));
    if (run.plan_flops)
      if (std::string more = plan_flops_text(*run.plan_flops); !more.empty()) lines.emplace_back("extra FLOPs", std::move(more));
  }
  if (run.training) {
    const sim::TrainingFigures& t = *run.training;
    lines.emplace_back("training", fmt::format("{} tokens a step, {:.4g} tokens/s a chip, {}FLOP/s of the model a chip, HFU {}", spoken_count(t.tokens_per_step), t.tokens_per_second_per_chip, prefixed(t.model_flops_per_chip), percent(t.hfu)));
    if (t.days > 0) lines.emplace_back("duration", fmt::format("{:.4g} days at a goodput of {}", t.days, percent(t.goodput)));
    if (t.failures) lines.push_back(failures_line(*t.failures));
  }
  if (run.sites) lines.push_back(sites_line(*run.sites));
  if (run.pools)
    for (Line& line : pool_lines(*run.pools)) lines.push_back(std::move(line));
  return lines;
}

Grid network_grid(const sim::Estimate& run) {
  Grid grid;
  grid.headings = {{"network", false}, {"axis", false}, {"ranks"}, {"level", false}, {"algorithm", false}, {"bytes"}, {"T"}, {"count"}, {"time"}};
  for (const sim::NetworkUse* use : longest_first(run))
    grid.rows.push_back({use->collective, use->axis, prefixed(use->ranks), display_name(use->level, 20), use->algorithm, bytes_cell(use->bytes), spoken(use->time), prefixed(use->count), spoken(use->time * use->count)});
  return grid;
}

Grid next_plans_grid(const sim::Estimate& run) {
  Grid grid;
  grid.headings = {{"next best plans", false}, {"time"}, {"slower"}};
  for (const auto& [plan, time] : run.next_plans) grid.rows.push_back({plan, spoken(time), percent(time / run.total.time - 1)});
  return grid;
}

void set_plan(Node& estimate, const sim::Estimate& run) {
  estimate.set("chips", number(run.chips));
  estimate.set("plan", shown(run.plan));
  estimate.set("timeline", timeline_node(run.timeline));
  if (run.plan_flops) estimate.set("plan_flops", plan_flops_node(*run.plan_flops));
  estimate.set("network", network_node(run));
  if (run.training) estimate.set("training", training_node(*run.training));
  if (run.sites) estimate.set("sites", sites_node(*run.sites));
  if (run.pools) estimate.set("pools", pools_node(*run.pools));
  if (run.next_plans.empty()) return;
  Node& plans = estimate.set("next_plans", Node::sequence());
  for (const auto& [plan, time] : run.next_plans) {
    Node& node = plans.append(Node::mapping());
    node.set("plan", shown(plan));
    node.set("time_s", number(time.value));
  }
}

}  // namespace gambrel::reports
