#include "kernels/timing/measurement.hpp"

#include <fmt/format.h>

#include <span>

#include "kernels/timing/statistics.hpp"

namespace gambrel::kernels {
namespace {

constexpr double form_version = 1;

/// Text and numbers under their names, so that writing and reading are one table each.
constexpr std::pair<const char*, std::string Measurement::*> texts[]{
    {"name", &Measurement::name},       {"kernel", &Measurement::kernel},
    {"type", &Measurement::type},       {"version", &Measurement::version},
    {"library", &Measurement::library}, {"selected", &Measurement::selected},
    {"anchor", &Measurement::anchor}};
constexpr std::pair<const char*, double Measurement::*> numbers[]{
    {"flops", &Measurement::flops},
    {"bytes", &Measurement::bytes},
    {"working_set_bytes", &Measurement::working_set},
    {"anchor_work", &Measurement::anchor_work},
    {"clock_work", &Measurement::clock_work},
    {"calls_per_sample", &Measurement::calls_per_sample}};

Node node_of(const Measurement& m) {
  Node node = Node::mapping();
  for (const auto& [key, member] : texts) node.set(key, Node::of(m.*member));
  Node& sizes = node.set("sizes", Node::mapping());
  for (const auto& [dimension, extent] : m.sizes) sizes.set(dimension, Node::of(extent));
  node.set("threads", Node::of(static_cast<double>(m.threads)));
  for (const auto& [key, member] : numbers) node.set(key, Node::of(m.*member));
  node.set("memory", Node::of(m.memory));
  node.set("sampled", Node::of(static_cast<double>(m.sampled)));
  Node& seconds = node.set("time_s", Node::sequence());
  for (const Round& round : m.clean) seconds.append(Node::of(round.seconds));
  Node& anchors = node.set("anchor_time_s", Node::sequence());
  for (const Round& round : m.clean) anchors.append(Node::of(round.anchor_seconds));
  Node& clocks = node.set("clock_time_s", Node::sequence());
  for (const Round& round : m.clean) clocks.append(Node::of(round.clock_seconds));
  return node;
}

Result<Measurement> read_one(const Node& node) {
  const Node *seconds = node.find("time_s"), *anchors = node.find("anchor_time_s"), *clocks = node.find("clock_time_s");
  if (!seconds || !anchors || !clocks || seconds->items.size() != anchors->items.size() || seconds->items.size() != clocks->items.size())
    return fail(Diagnostic{node.at, "a measurement needs time_s, anchor_time_s and clock_time_s, lists of one length", ""});
  Measurement m;
  for (const auto& [key, member] : texts) m.*member = node.text_or(key, "");
  for (const auto& [key, member] : numbers) m.*member = node.number_or(key, 0);
  if (const Node* sizes = node.find("sizes"))
    for (const Member& size : sizes->members) m.sizes.emplace_back(size.key, size.value.number);
  m.threads = static_cast<int>(node.number_or("threads", 1));
  m.memory = node.boolean_or("memory", false);
  m.sampled = static_cast<int>(node.number_or("sampled", 0));
  for (std::size_t i = 0; i < seconds->items.size(); ++i) {
    m.clean.push_back({seconds->items[i].number, anchors->items[i].number, clocks->items[i].number});
    if (!(m.clean.back().seconds > 0)) return fail(Diagnostic{seconds->items[i].at, "a time is not positive", ""});
  }
  return m;
}

std::vector<double> seconds_of(std::span<const Round> rounds) {
  std::vector<double> seconds;
  for (const Round& round : rounds) seconds.push_back(round.seconds);
  return seconds;
}

/// The rounds of each process.
std::vector<std::span<const Round>> processes_of(const Measurement& m) {
  std::vector<std::span<const Round>> processes;
  const std::span<const Round> all(m.clean);
  for (std::size_t first = 0, last = 0; first < all.size(); first = last) {
    while (last < all.size() && all[last].process == all[first].process) ++last;
    processes.push_back(all.subspan(first, last - first));
  }
  return processes;
}

/// Seconds of the anchor or the clock beside a sample; 1 where there was none.
double pace_of(const Measurement& m, const Round& round, Pace pace) {
  const double seconds = pace == Pace::clock && has_clock(m) ? round.clock_seconds : round.anchor_seconds;
  return seconds > 0 ? seconds : 1;
}

std::vector<double> paces_of(const Measurement& m, std::span<const Round> rounds, Pace pace) {
  std::vector<double> seconds;
  for (const Round& round : rounds) seconds.push_back(pace_of(m, round, pace));
  return seconds;
}

/// Samples of ours, which alternate with their anchor's. Of times that a command or a file gave, as many as it liked, the
/// least of twenty would be faster than a single one.
bool is_sampled_by_turns(const Measurement& m) { return m.calls_per_sample > 0; }

constexpr double unit_work = 1e9;  // FLOPs or bytes of the anchor, for a kernel that has none of its kind

/// What makes a speed of a pace's seconds over the kernel's.
double work_in_pace(const Measurement& m, Pace pace) {
  if (pace == Pace::clock && has_clock(m)) return 1 / m.clock_work;
  if (has_reference(m)) return (m.memory ? m.bytes : m.flops) / m.anchor_work;
  return m.anchor_work > 0 ? unit_work / m.anchor_work : 1;  // anchors of two processes do not do the same work a run
}

}  // namespace

std::vector<double> seconds_of(const Measurement& measurement) { return seconds_of(measurement.clean); }

double median_seconds(const Measurement& measurement) { return median(seconds_of(measurement)); }

bool has_reference(const Measurement& m) { return (m.memory ? m.bytes : m.flops) > 0 && m.anchor_work > 0; }

std::string_view to_string(Pace pace) { return pace == Pace::clock ? "clock" : "anchor"; }

bool has_clock(const Measurement& measurement) { return measurement.clock_work > 0; }

double efficiency_of(const Measurement& measurement) { return speed_of(measurement, Pace::anchor); }

double speed_of(const Measurement& m, Pace pace) {
  const auto typical = is_sampled_by_turns(m) ? undisturbed : median;
  std::vector<double> speeds;
  for (const auto process : processes_of(m)) speeds.push_back(work_in_pace(m, pace) * typical(paces_of(m, process, pace)) / typical(seconds_of(process)));
  return median(speeds);
}

std::vector<double> calm_speeds_of(const Measurement& m, Pace pace) {
  std::vector<double> speeds;
  for (const auto process : processes_of(m)) {
    const double middle = median(paces_of(m, process, pace));
    for (const Round& round : process)
      if (const double here = pace_of(m, round, pace); here <= middle) speeds.push_back(work_in_pace(m, pace) * here / round.seconds);
  }
  return speeds;
}

bool is_settled(const Measurement& m) {
  constexpr int enough = 12;
  return undisturbed_count(seconds_of(m)) >= enough && undisturbed_count(paces_of(m, m.clean, Pace::anchor)) >= enough;
}

Node to_node(const std::vector<Measurement>& measurements) {
  Node root = Node::mapping();
  root.set("schema_version", Node::of(form_version));
  Node& list = root.set("measurements", Node::sequence());
  for (const Measurement& measurement : measurements) list.append(node_of(measurement));
  return root;
}

Result<std::vector<Measurement>> read_measurements(const Node& document) {
  const Node* list = document.find("measurements");
  if (!list || !list->is_sequence() || document.number_or("schema_version", 0) != form_version)
    return fail(Diagnostic{document.at, "these are no measurements of this gambrel", "as `gambrel measure --format json` prints them"});
  std::vector<Measurement> measurements;
  for (const Node& item : list->items) {
    auto measurement = read_one(item);
    if (!measurement) return fail(std::move(measurement.error()));
    measurements.push_back(std::move(*measurement));
  }
  return measurements;
}

}  // namespace gambrel::kernels
