#include "sim/sites.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/compose.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {
namespace {

using models::MeshAxis;

constexpr double near_loss = 0.05;  ///< of SiteFigures::near_bandwidth

const hw::Pool& pool_of(const Run& run) { return run.system.pools.front(); }
const hw::NetworkLevel& level_of(const Run& run) { return pool_of(run).network[run.sites->network_level]; }

std::string_view name_of(SiteSync sync) {
  return sync == SiteSync::synchronous ? "synchronous" : sync == SiteSync::overlapped ? "overlapped" : "local";
}

/// `local` alone has steps between its exchanges.
Result<void> read_steps(const Node& section, SitePlan& sites) {
  for (std::string_view key : {"local_steps", "fragments", "overlapped_steps"})
    if (const Node* node = section.find(key); node && sites.sync != SiteSync::local)
      return fail({node->at, fmt::format("'{}' means nothing with sync: {}", key, name_of(sites.sync)), "sync: local, or leave it out"});
  if (sites.sync != SiteSync::local) return {};
  sites.local_steps = section.number_or("local_steps", 100);
  sites.fragments = section.number_or("fragments", 1);
  sites.overlapped_steps = section.number_or("overlapped_steps", 0);
  const double between = sites.local_steps / sites.fragments;
  if (between < 1) return fail({section.find("fragments")->at, fmt::format("{} fragments in {} local steps: more than one exchange a step", sites.fragments, sites.local_steps), fmt::format("at most {}", sites.local_steps)});
  if (sites.overlapped_steps > between)
    return fail({section.find("overlapped_steps")->at, fmt::format("a fragment may travel for {} steps, but the next one leaves after {:.4g}", sites.overlapped_steps, between), fmt::format("at most {}", std::floor(between))});
  return {};
}

Result<void> find_level(const Node& name, const Run& run, SitePlan& sites) {
  std::vector<std::string> known;
  for (const hw::NetworkLevel& level : pool_of(run).network) known.push_back(level.level);
  const auto found = std::ranges::find(known, name.text);
  if (found == known.end())
    return fail({name.at, fmt::format("{} has no network level '{}'", run.system.id, name.text), known.empty() ? "a system of several chips" : fmt::format("it has {}", fmt::join(known, ", "))});
  sites.level = name.text;
  sites.network_level = static_cast<std::size_t>(found - known.begin());
  return {};
}

/// The chips fill two members of the level or more, and nothing outside it.
Result<void> count_sites(const Node& name, const Run& run, SitePlan& sites) {
  const hw::NetworkLevel& level = pool_of(run).network[sites.network_level];
  const double chips = run.chips, inside = level.chips_each, count = chips / inside;
  const std::string members = fmt::format("level '{}' joins {} members of {} chips", level.level, level.size, inside);
  if (count < 2) return fail({name.at, fmt::format("{}, and the data axis does not span it: the plan has {} chips", members, chips), fmt::format("chips: {} would span it", inside * level.size)});
  if (count > level.size) return fail({name.at, fmt::format("{}, but the plan's {} chips span a level outside it", members, chips), "name the outermost level"});
  if (count != std::floor(count)) return fail({name.at, fmt::format("{}: {} chips are no whole number of them", members, chips), fmt::format("chips: {} would be", inside * std::floor(count))});
  sites.count = static_cast<int>(count);
  return {};
}

/// Data is the outermost axis, whole sites of it; experts lie within a site.
bool splits(const ParallelismPlan& plan, const std::vector<MeshAxis>& order, double chips, int sites) {
  const Placed groups = placed(plan, order);
  const RankGroup& data = groups.of(MeshAxis::data);
  return data.stride * data.size == chips && plan.data % sites == 0 && plan.expert_data % sites == 0;
}

}  // namespace

Result<void> read_sites(const Node& section, Run& run) {
  if (run.workload.phase != PhaseKind::train) return fail({section.at, "sites share a training run, and this is none", "workload: {phase: train, ...}"});
  SitePlan sites;
  const std::string sync = section.text_or("sync", "");
  for (SiteSync one : {SiteSync::synchronous, SiteSync::overlapped, SiteSync::local})
    if (name_of(one) == sync) sites.sync = one;
  if (auto read = read_steps(section, sites); !read) return read;
  const Node& name = *section.find("level");
  if (auto found = find_level(name, run, sites); !found) return found;
  if (auto counted = count_sites(name, run, sites); !counted) return counted;
  if (const Node* type = section.find("type")) {
    auto parsed = read_data_type(*type);
    if (!parsed) return fail(parsed.error());
    sites.type = parsed->type;
  }
  run.sites = sites;
  if (!orders_of(run).empty()) return {};
  const bool experts = run.plan.expert > 1 || run.plan.expert_tensor > 1;
  return fail({name.at, fmt::format("level '{}' has {} sites, which data {}{} cannot be shared among", sites.level, sites.count, run.plan.data, experts ? fmt::format(" (with expert_data {})", run.plan.expert_data) : ""),
               fmt::format("data{} a multiple of {}, and no other axis across the level", experts ? " and expert_data" : "", sites.count)});
}

std::vector<std::vector<MeshAxis>> orders_of(const Run& run) {
  auto orders = axis_orders(run.plan, pool_of(run));
  if (run.sites) std::erase_if(orders, [&](const auto& order) { return !splits(run.plan, order, run.chips, run.sites->count); });
  return orders;
}

ParallelismPlan plan_of_site(const Run& run) {
  ParallelismPlan plan = run.plan;
  if (run.sites) plan.data /= run.sites->count, plan.expert_data /= run.sites->count;
  return plan;
}

SiteFigures exchange_between_sites(const Run& run, double parameters, double backward, StepTime& time) {
  const SitePlan& plan = *run.sites;
  const hw::NetworkLevel& level = level_of(run);
  const double efficiency = level.efficiency > 0 ? level.efficiency : 1;
  Sites sites{.count = double(plan.count), .bandwidth = level.member_bandwidth().value * efficiency, .latency = level.latency.value};
  const SiteTraining training{.sync = plan.sync, .step = time.seconds, .backward = std::min(backward, time.seconds), .bytes = parameters * plan.type.element_bits() / 8.0,
                              .local_steps = plan.local_steps, .fragments = plan.fragments, .overlapped_steps = plan.overlapped_steps};
  SiteFigures f{.count = sites.count, .chips = run.chips / sites.count, .level = plan.level, .sync = std::string(name_of(plan.sync)), .local_steps = plan.local_steps};
  f.exchanges_per_step = training.exchanges_per_step();
  f.bytes = Bytes{training.bytes_of_exchange()};
  f.bandwidth = BytesPerSecond{level.member_bandwidth().value};
  f.latency = level.latency;
  f.step = Seconds{time.seconds};
  f.exchange = Seconds{site_exchange_seconds(f.bytes.value, sites)};
  f.exposed = Seconds{site_step_seconds(training, sites) - training.step};
  f.golden_bandwidth = BytesPerSecond{golden_bandwidth(training, sites) / efficiency};
  f.near_bandwidth = BytesPerSecond{golden_bandwidth(training, sites, near_loss) / efficiency};
  if (plan.sync == SiteSync::local) f.near_local_steps = std::ceil(golden_local_steps(training, sites, near_loss));
  sites.latency = 0;
  f.golden_distance = golden_distance(training, sites);
  time.seconds += f.exposed.value;
  time.parts.exposed_network += f.exposed;
  time.parts.overlap += Seconds{std::max(0.0, training.exchanges_per_step() * f.exchange.value - f.exposed.value)};
  for (StageTail& tail : time.tails) tail.reduction += f.exposed.value;
  return f;
}

}  // namespace gambrel::sim
