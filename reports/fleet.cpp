#include "reports/fleet.hpp"

#include <fmt/format.h>

#include <cmath>

#include "base/text.hpp"
#include "reports/format.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {


std::string rate(double requests) { return fmt::format("{:.3g} requests/s", requests); }

std::string golden_text(const sim::SiteFigures& sites) {
  const std::string far = sites.golden_distance > 0 ? fmt::format(", or up to {:.0f} km apart", sites.golden_distance / 1000) : "";
  if (std::isfinite(sites.golden_bandwidth.value)) return fmt::format("hidden from {} a site{}", spoken(sites.golden_bandwidth), far);
  if (std::isfinite(sites.near_bandwidth.value)) return fmt::format("within 5% of one site's step from {} a site", spoken(sites.near_bandwidth));
  return "too far apart for any bandwidth";
}

Line pool_line(const sim::PoolFigures& pool) {
  const std::string where = pool.replicas > 1 ? fmt::format(" on each of {} replicas", spoken_count(pool.replicas)) : "";
  return {pool.name, fmt::format("{} at once in {}{}: {}, busy {}", spoken_count(pool.batch), spoken(pool.time), where, rate(pool.request_rate), percent(pool.utilisation))};
}

Node pool_node(const sim::PoolFigures& pool) {
  Node node = Node::mapping();
  node.set("chip", shown(pool.chip));
  node.set("plan", shown(pool.plan));
  node.set("parts", number(pool.parts));
  node.set("chips", number(pool.chips));
  node.set("replicas", number(pool.replicas));
  node.set("batch", number(pool.batch));
  node.set("time_s", number(pool.time.value));
  node.set("request_rate", number(pool.request_rate));
  node.set("utilisation", number(pool.utilisation));
  node.set("balanced_parts", number(pool.balanced_parts));
  return node;
}

}  // namespace

Line sites_line(const sim::SiteFigures& s) {
  const std::string how = s.sync == "local" ? fmt::format("local, {} steps", spoken_count(s.local_steps)) : s.sync;
  return {"sites", fmt::format("{} of {} chips by {}, {}: an exchange of {} takes {}, {} a step exposed; {}", spoken_count(s.count), spoken_count(s.chips), s.level, how, spoken(s.bytes),
                               spoken(s.exchange), spoken(s.exposed), golden_text(s))};
}

Node sites_node(const sim::SiteFigures& s) {
  Node node = Node::mapping();
  node.set("count", number(s.count));
  node.set("chips", number(s.chips));
  node.set("level", shown(s.level));
  node.set("sync", shown(s.sync));
  node.set("local_steps", number(s.local_steps));
  node.set("exchanges_per_step", number(s.exchanges_per_step));
  node.set("bytes", number(s.bytes.value));
  node.set("bandwidth", number(s.bandwidth.value));
  node.set("latency_s", number(s.latency.value));
  node.set("exchange_s", number(s.exchange.value));
  node.set("exposed_s", number(s.exposed.value));
  node.set("step_s", number(s.step.value));
  node.set("golden_bandwidth", number(s.golden_bandwidth.value));
  node.set("near_golden_bandwidth", number(s.near_bandwidth.value));
  node.set("golden_distance_m", s.golden_distance >= 0 ? number(s.golden_distance) : Node{});
  node.set("near_golden_local_steps", s.sync == "local" ? number(s.near_local_steps) : Node{});
  return node;
}

Line failures_line(const sim::Goodput& g) {
  const std::string checkpoint = g.interval > 0 ? fmt::format("a checkpoint every {}", spoken(Seconds{g.interval})) : "checkpoints all the time, which cost nothing";
  return {"failures", fmt::format("{:.3g} a day, {}: {} of the time lost to checkpoints, {} to restarts and work done again", g.failures_per_day, checkpoint, percent(g.checkpoints),
                                  percent(g.failures))};
}

std::vector<Line> pool_lines(const sim::Pools& p) {
  const auto& [prefill, decode] = p.pools;
  return {{"requests", fmt::format("{}, as many as {} takes", rate(p.request_rate), p.bottleneck)},
          pool_line(prefill),
          pool_line(decode),
          {"hand-over", fmt::format("{} of cache a request by {}, {} a batch; streamed layer by layer: first token after {}", spoken(p.cache), p.level, spoken(p.transfer), spoken(p.ttft_streamed))},
          {"balanced", fmt::format("{} of prefill's parts to {} of decode's", spoken_count(prefill.balanced_parts), spoken_count(decode.balanced_parts))}};
}

Node pools_node(const sim::Pools& p) {
  Node node = Node::mapping();
  node.set("bottleneck", shown(p.bottleneck));
  node.set("request_rate", number(p.request_rate));
  for (const sim::PoolFigures& pool : p.pools) node.set(shown(pool.name).text, pool_node(pool));
  Node& network = node.set("network", Node::mapping());
  network.set("level", shown(p.level));
  network.set("cache_bytes", number(p.cache.value));
  network.set("transfer_s", number(p.transfer.value));
  network.set("request_rate", number(p.network_rate));
  network.set("ttft_streamed_s", number(p.ttft_streamed.value));
  return node;
}

}  // namespace gambrel::reports
