#include "sim/plan/read_pools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/plan/read_plan.hpp"

namespace gambrel::sim {
namespace {

constexpr std::array<std::string_view, 2> names{"prefill", "decode"};

const hw::Pool* pool_named(const hw::System& system, std::string_view name) {
  const auto found = std::ranges::find(system.pools, name, &hw::Pool::name);
  return found == system.pools.end() ? nullptr : &*found;
}

Result<void> check_plans(const Node& plan, const Run& run) {
  for (const Member& m : plan.members)
    if (!std::ranges::count(names, m.key)) return fail({m.key_at, fmt::format("'{}' beside the pools' plans means nothing", m.key), "write it into prefill: or decode:"});
  for (std::string_view name : names) {
    if (!pool_named(run.system, name)) {
      std::vector<std::string> there;
      for (const hw::Pool& pool : run.system.pools) there.push_back(pool.name);
      return fail({plan.at, fmt::format("{} has no pool '{}'", run.system.id, name), there.size() > 1 ? fmt::format("its pools are {}", fmt::join(there, ", ")) : "a system with pools named prefill and decode, or one plan for both"});
    }
    const Node* own = plan.find(name);
    if (!own) return fail({plan.at, fmt::format("pool '{}' has no plan", name), "plan: {prefill: {tensor: 8}, decode: {tensor: 8}}"});
    for (std::string_view inner : names)
      if (const Node* nested = own->find(inner)) return fail({nested->at, "a pool has no pools", fmt::format("the plan of {} itself: {{tensor: 8}}", name)});
  }
  return {};
}

Workload workload_of(const Run& run, std::string_view pool) {
  Workload w = run.workload;
  if (pool == "decode") {
    w.prefilled = true;
    return w;
  }
  w.phase = PhaseKind::prefill;
  w.new_tokens = w.input;
  w.past_tokens = 0;
  w.largest_batch = false;
  if (w.prefill_batch > 0) w.batch = w.prefill_batch;
  return w;
}

Result<Run> part(const Node& plan, const Run& whole, std::string_view name) {
  Run run = whole;
  run.workload = workload_of(whole, name);
  run.system.pools = {*pool_named(whole.system, name)};
  run.system.id = fmt::format("pool {} of {}", name, whole.system.id);
  Node document = Node::mapping();
  document.at = plan.at;
  document.set("plan", *plan.find(name));
  if (auto read = read_plan(document, run); !read) return fail(read.error());
  return run;
}

}  // namespace

bool on_pools(const Node& document, const Run& run) {
  const Node* plan = document.find("plan");
  if (plan && plan->is_mapping() && std::ranges::any_of(names, [&](std::string_view name) { return plan->find(name); })) return true;
  return run.workload.phase == PhaseKind::generate && std::ranges::all_of(names, [&](std::string_view name) { return pool_named(run.system, name); });
}

Result<void> read_pools(const Node& document, Run& run) {
  const Node* plan = document.find("plan");
  if (run.workload.phase != PhaseKind::generate) return fail({plan->at, "pools for prefill and decode serve phase generate", "workload: {phase: generate, ...}, or one plan without prefill: and decode:"});
  if (!plan || !plan->is_mapping())
    return fail({plan ? plan->at : document.find("system")->at, fmt::format("{} has a pool for prefill and one for decode, and neither has a plan", run.system.id), "plan: {prefill: {tensor: 8}, decode: {tensor: 8}}"});
  if (auto fits = check_plans(*plan, run); !fits) return fits;
  if (const Node* chips = document.find("chips")) return fail({chips->at, "each pool's plan has chips of its own", "leave chips: out"});
  if (run.workload.output < 2) return fail({run.workload_at, "an output of one token leaves the decode pool nothing to do", "output: 2 or more"});
  std::vector<Run> pools;
  for (std::string_view name : names) {
    auto read = part(*plan, run, name);
    if (!read) return fail(read.error());
    pools.push_back(std::move(*read));
  }
  run.pools = std::move(pools);
  run.chips = run.pools[0].chips + run.pools[1].chips;
  run.plan_at = plan->at;
  return {};
}

}  // namespace gambrel::sim
