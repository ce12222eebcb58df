// Sites far apart and chips that fail: closed forms of what they cost.
#include "sim/plan/fleet.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/quantity.hpp"

namespace gambrel::sim {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

double hops(const Sites& sites) { return 2 * (sites.count - 1); }
double sent_bytes(double bytes, const Sites& sites) { return hops(sites) / sites.count * bytes; }

/// An exchange may take so long that a step is not more than `loss` longer than without.
double allowed(const SiteTraining& t, double loss) { return t.window() + loss * t.step / t.exchanges_per_step(); }

double quotient(double bytes, double seconds) { return bytes == 0 ? 0 : seconds > 0 ? bytes / seconds : infinite; }

double seconds_at(const Node& node, std::string_view key, double otherwise) {
  return parse_quantity<Seconds>(node.text_or(key, "")).value_or(Seconds{otherwise}).value;
}

}  // namespace

double site_exchange_seconds(double bytes, const Sites& sites) {
  if (sites.count <= 1) return 0;
  return quotient(sent_bytes(bytes, sites), sites.bandwidth) + hops(sites) * sites.one_way();
}

double site_step_seconds(const SiteTraining& t, const Sites& sites) {
  const double exposed = site_exchange_seconds(t.bytes_of_exchange(), sites) - t.window();
  return t.step + t.exchanges_per_step() * std::max(0.0, exposed);
}

double golden_bandwidth(const SiteTraining& t, const Sites& sites, double loss) {
  if (sites.count <= 1) return 0;
  const double left = allowed(t, loss) - hops(sites) * sites.one_way();
  return left < 0 ? infinite : quotient(sent_bytes(t.bytes_of_exchange(), sites), left);
}

double golden_distance(const SiteTraining& t, const Sites& sites, double loss) {
  if (sites.count <= 1) return infinite;
  const double left = allowed(t, loss) - quotient(sent_bytes(t.bytes_of_exchange(), sites), sites.bandwidth);
  return (left / hops(sites) - sites.latency) * metres_per_second_in_fibre;
}

double golden_local_steps(const SiteTraining& t, const Sites& sites, double loss) {
  const double exchange = t.fragments * site_exchange_seconds(t.bytes / t.fragments, sites);
  if (exchange == 0) return 1;
  return std::max(1.0, exchange / (((t.overlapped_steps > 0 ? 1 : 0) + loss) * t.step));
}

double young_interval(double stall, double mtbf) { return std::sqrt(2 * stall * mtbf); }

double daly_interval(double stall, double mtbf) {
  if (stall >= 2 * mtbf) return mtbf;
  const double ratio = stall / (2 * mtbf);
  return young_interval(stall, mtbf) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - stall;
}

double best_interval(const Reliability& r, double mtbf) {
  // (1 - x) e^x falls from 1 to 0 for x = t/M in 0..1, and e^(-stall/M) lies between. Written with expm1, since near 0
  // both sides differ from 1 by as little as x^2/2.
  const double target = -std::expm1(-r.checkpoint_stall / mtbf);
  double low = 0, high = 1;
  for (int i = 0; i < 100; ++i) {
    const double x = (low + high) / 2;
    (x * std::exp(x) - std::expm1(x) < target ? low : high) = x;
  }
  return std::max(r.checkpoint_write - r.checkpoint_stall, low * mtbf);
}

Goodput goodput(const Reliability& r, double chips) {
  Goodput g{.interval = r.checkpoint_interval};
  if (r.mtbf_per_chip <= 0 || chips <= 0) {
    if (g.interval > 0) g.checkpoints = r.checkpoint_stall / (g.interval + r.checkpoint_stall), g.productive = 1 - g.checkpoints;
    return g;
  }
  const double mtbf = r.mtbf_per_chip / chips, back = r.restart + r.checkpoint_write - r.checkpoint_stall;
  if (g.interval <= 0) g.interval = best_interval(r, mtbf);
  g.mtbf = mtbf;
  g.failures_per_day = 86400 / mtbf;
  // x / (e^(x + d) - 1): of an interval of 0, which has no stall either, its limit 1.
  const double work = g.interval / mtbf, all = std::expm1(work + r.checkpoint_stall / mtbf);
  const double per_wall = std::exp(-back / mtbf) / (all > 0 ? all : 1);
  g.productive = all > 0 ? work * per_wall : per_wall;
  g.checkpoints = all > 0 ? r.checkpoint_stall / mtbf * per_wall : 0;
  g.failures = std::max(0.0, 1 - g.productive - g.checkpoints);
  return g;
}

Result<Reliability> read_reliability(const Node& section) {
  Reliability r{.mtbf_per_chip = seconds_at(section, "mtbf_per_chip", 0), .restart = seconds_at(section, "restart", 0)};
  const Node* checkpoint = section.find("checkpoint");
  if (!checkpoint || checkpoint->is_null()) return r;
  r.checkpoint_write = seconds_at(*checkpoint, "write", 0);
  r.checkpoint_interval = seconds_at(*checkpoint, "interval", 0);
  const bool asynchronous = checkpoint->boolean_or("asynchronous", false);
  const Node* stall = checkpoint->find("stall");
  if (stall && !asynchronous) return fail({stall->at, "a write that is not asynchronous stalls training for all its time", "leave stall: out, or write asynchronous: true"});
  r.checkpoint_stall = asynchronous ? seconds_at(*checkpoint, "stall", 0) : r.checkpoint_write;
  if (r.checkpoint_stall > r.checkpoint_write) return fail({stall->at, "the stall is longer than the write it is part of", "stall: is at most write:"});
  if (const Node* interval = checkpoint->find("interval"); interval && r.checkpoint_interval + r.checkpoint_stall < r.checkpoint_write)
    return fail({interval->at, "the interval is shorter than the write of a checkpoint", "one checkpoint is written before the next starts; leave interval: out for the best"});
  return r;
}

}  // namespace gambrel::sim
