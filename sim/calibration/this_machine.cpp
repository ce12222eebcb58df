#include "sim/calibration/this_machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gambrel::sim {
namespace {

constexpr Search logarithmic = Search::logarithmic;

/// Seconds a byte with the constants in the order capacity, bandwidth, capacity, bandwidth ... bandwidth, sharpness.
double seconds_per_byte(std::span<const double> values, double bytes) {
  double seconds = 0, reached = 1;  // share of the bytes that come from this level or farther out
  const double sharpness = values.back();
  for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
    const bool outermost = i + 2 == values.size();
    const double beyond = outermost ? 0 : reached / (1 + std::pow(values[i] / bytes, sharpness));
    seconds += (reached - beyond) / values[outermost ? i : i + 1];
    reached = beyond;
  }
  return seconds;
}

/// The search space: around what the system tells, and around the rates of the points that lie within a level.
std::vector<Constant> level_constants(std::span<const StreamPoint> points, std::span<const std::pair<std::string, double>> nominal) {
  std::vector<Constant> constants;
  double least = points.front().rate, most = least;
  for (const StreamPoint& p : points) least = std::min(least, p.rate), most = std::max(most, p.rate);
  const auto rate_at = [&](double bytes) {
    const auto near = std::ranges::min_element(points, {}, [&](const StreamPoint& p) { return std::abs(std::log(p.bytes / bytes)); });
    return std::clamp(near->rate, least, most);
  };
  for (const auto& [name, bytes] : nominal) {
    constants.push_back({"capacity", 0.8 * bytes, 0.1 * bytes, 1.2 * bytes, logarithmic, "B", ""});
    constants.push_back({"bandwidth", rate_at(0.4 * bytes), 0.8 * least, 1.5 * most, logarithmic, "B/s", ""});
  }
  constants.push_back({"bandwidth", rate_at(1e18), 0.8 * least, 1.5 * most, logarithmic, "B/s", ""});
  constants.push_back({"sharpness", 4, 2, 12, logarithmic, "", ""});
  return constants;
}

std::string rate_text(double rate, std::string_view unit) { return fmt::format("{:.4g} G{}", rate / 1e9, unit); }

Node memory_node(const FittedLevel& level, bool cache, bool of_core) {
  Node node = Node::mapping();
  node.set("level", Node::of(level.name));
  if (of_core) node.set("per", Node::of("core"));
  node.set("capacity", Node::of(cache ? fmt::format("{:.0f} KiB", level.capacity / 1024) : fmt::format("{:.3f} GB", level.capacity / 1e9)));
  node.set("bandwidth", Node::of(rate_text(level.bandwidth, "B/s")));
  if (cache) node.set("managed", Node::of("cache"));
  return node;
}

Node sources_node(const MachineFigures& m) {
  Node sources = Node::mapping();
  sources.set("default", Node::of(fmt::format("measured on {} on this machine: {}, {} thread{}, kernels compiled by {} (gambrel calibrate --this-machine)", m.date, m.cpu,
                                              m.threads, m.threads > 1 ? "s" : "", m.compiler)));
  std::string told;
  for (const auto& [name, bytes] : m.nominal) told += fmt::format("{}{} {:.0f} KiB", told.empty() ? "" : ", ", name, bytes / 1024);
  sources.set("memory", Node::of(fmt::format("capacities and bandwidths fitted to {} working sets that were read again and again; the system tells {}", m.points.size(), told)));
  return sources;
}

}  // namespace

double stream_rate(std::span<const FittedLevel> levels, double bytes) {
  std::vector<double> values;
  for (const FittedLevel& level : levels) {
    if (&level != &levels.back()) values.push_back(level.capacity);
    values.push_back(level.bandwidth);
  }
  values.push_back(8);
  return 1 / seconds_per_byte(values, bytes);
}

std::vector<FittedLevel> fit_levels(std::span<const StreamPoint> points, std::span<const std::pair<std::string, double>> nominal) {
  const std::vector<Constant> constants = level_constants(points, nominal);
  std::vector<double> start, measured;
  for (const Constant& c : constants) start.push_back(std::clamp(c.usual, c.low, c.high));
  for (const StreamPoint& p : points) measured.push_back(1 / p.rate);
  const auto predict = [&](std::span<const double> values, std::span<double> seconds) {
    for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i] = seconds_per_byte(values, points[i].bytes);
  };
  const std::vector<double> fitted = fit_constants({.constants = constants, .predict = predict, .measured = measured, .start = start, .evaluations = 20000});
  std::vector<FittedLevel> levels;
  for (std::size_t i = 0; i < nominal.size(); ++i) levels.push_back({nominal[i].first, fitted[2 * i], fitted[2 * i + 1]});
  levels.push_back({"DRAM", 0, fitted[2 * nominal.size()]});
  return levels;
}

Node chip_document(const MachineFigures& m) {
  Node root = Node::mapping();
  root.set("chip", Node::of("this-machine"));
  root.set("kind", Node::of("cpu"));
  root.set("name", Node::of(fmt::format("{}, {} thread{}", m.cpu, m.threads, m.threads > 1 ? "s" : "")));
  Node core = Node::mapping();
  core.set("level", Node::of("core"));
  core.set("count", Node::of(static_cast<double>(m.threads)));
  root.set("hierarchy", Node::sequence()).append(std::move(core));
  Node& unit = root.set("compute", Node::mapping()).set("simd", Node::mapping());
  unit.set("kind", Node::of("vector"));
  unit.set("per", Node::of("core"));
  Node& peak = unit.set("peak", Node::mapping());
  for (const auto& [format, rate] : m.peaks) peak.set(to_string(format), Node::of(rate_text(rate, format == Format::int8 ? "OP/s" : "FLOP/s")));
  Node& memory = root.set("memory", Node::sequence());
  FittedLevel main = m.levels.back();
  main.capacity = m.memory;
  memory.append(memory_node(main, false, false));
  // The last cache is the chip's, so that what it holds is not charged to main memory.
  for (std::size_t i = m.levels.size() - 1; i-- > 0;) {
    const bool last = i + 2 == m.levels.size();
    FittedLevel level = m.levels[i];
    if (last) level.capacity *= m.threads;
    memory.append(memory_node(level, true, !last));
  }
  root.set("sources", sources_node(m));
  return root;
}

namespace {

/// Rows in and out of one fold, by the hash of their keys.
std::vector<bool> in_fold(std::span<const std::string> keys, std::uint32_t fold, std::uint32_t folds) {
  std::vector<bool> mask;
  for (const std::string& key : keys) mask.push_back(Split{fold, folds}.holds(key));
  return mask;
}

void add_regimes(const Judgement& judged, const std::vector<double>& measured, std::vector<std::pair<std::string, std::pair<std::vector<double>, std::vector<double>>>>& sums) {
  for (std::size_t i = 0; i < judged.predicted.size(); ++i) {
    auto at = std::ranges::find(sums, judged.bounds[i], [](const auto& s) { return std::string_view(s.first); });
    if (at == sums.end()) at = sums.insert(sums.end(), {std::string(judged.bounds[i]), {}});
    at->second.first.push_back(judged.predicted[i]);
    at->second.second.push_back(measured[i]);
  }
}

/// A search by single evaluations is local and the constants many: it is taken up again where it stopped.
std::vector<double> fitted(const MeasuredGroup& rows, const KernelPredictor& predictor, std::vector<double> values) {
  const bool smooth = predictor.model(rows.calls.front()->kind).smooth;
  const int searches = smooth ? 1 : 3;
  const double pull = smooth ? 0.05 : 0.02;
  for (int i = 0; i < searches; ++i) values = fit_group(rows, predictor, values, {}, pull);
  return values;
}

HeldOutFit fit_type(const MeasuredGroup& group, const std::vector<std::string>& keys, const KeyedRows& rows, const KernelPredictor& predictor, std::uint32_t folds) {
  HeldOutFit result{.fit = {.kernel = rows.kind, .type = group.type}};
  std::vector<double> usual;
  for (const Constant& c : predictor.model(rows.kind).constants) usual.push_back(c.usual);
  std::vector<std::pair<std::string, std::pair<std::vector<double>, std::vector<double>>>> regimes;
  for (std::uint32_t fold = 0; fold < folds; ++fold) {
    std::vector<bool> held = in_fold(keys, fold, folds);
    const MeasuredGroup out = select(group, held);
    held.flip();
    const MeasuredGroup in = select(group, held);
    if (out.calls.empty() || in.calls.empty()) continue;
    const Judgement judged = judge(out, predictor, fitted(in, predictor, usual));
    add_regimes(judged, out.seconds, regimes);
    result.predicted.insert(result.predicted.end(), judged.predicted.begin(), judged.predicted.end());
    result.measured.insert(result.measured.end(), out.seconds.begin(), out.seconds.end());
  }
  std::ranges::sort(regimes, {}, [](const auto& r) { return r.first; });
  for (const auto& [name, both] : regimes) result.fit.regimes.emplace_back(name, score(both.first, both.second));
  result.fit.values = fitted(group, predictor, usual);
  result.fit.fitted = judge(group, predictor, result.fit.values).all;
  result.fit.reported = score(result.predicted, result.measured);
  result.fit.file = rows.file, result.fit.file_hash = rows.hash, result.fit.date = rows.date, result.fit.split = "hash:0/1";
  return result;
}

}  // namespace

std::vector<HeldOutFit> fit_held_out(const KeyedRows& rows, const KernelPredictor& predictor, std::uint32_t folds, std::size_t fewest) {
  std::vector<HeldOutFit> fits;
  for (const MeasuredGroup& group : group_by_type(rows.calls, rows.seconds, predictor)) {
    if (group.calls.size() < fewest) continue;
    std::vector<std::string> keys;
    std::vector<double> halves;  // one over the other
    for (const KernelCall* call : group.calls) {
      const auto row = static_cast<std::size_t>(call - rows.calls.data());
      keys.push_back(rows.keys[row]);
      if (!rows.apart.empty()) halves.push_back(std::exp(rows.apart[row]));
    }
    fits.push_back(fit_type(group, keys, rows, predictor, folds));
    fits.back().apart = score(halves, std::vector<double>(halves.size(), 1));
  }
  return fits;
}

std::optional<KernelFit> as_own_kind(const KernelFit& fit) {
  constexpr std::pair<std::string_view, KernelKind> kinds[]{{"softmax", KernelKind::softmax}, {"layer_norm", KernelKind::layernorm}};
  const auto found = std::ranges::find(kinds, fit.type, &std::pair<std::string_view, KernelKind>::first);
  if (fit.kernel != KernelKind::elementwise || found == std::end(kinds)) return std::nullopt;
  KernelFit same = fit;
  same.kernel = found->second;
  return same;
}

}  // namespace gambrel::sim
