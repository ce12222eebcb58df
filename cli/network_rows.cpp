#include "cli/network_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/schema.hpp"
#include "base/text.hpp"
#include "cli/kernel_options.hpp"
#include "sim/calibration/kernel_predictor.hpp"
#include "sim/calibration/kernel_rows.hpp"
#include "sim/network/network.hpp"

namespace gambrel::cli {
namespace {

std::string micro(double seconds) { return fmt::format("{:.6g}", seconds * 1e6); }

std::vector<std::string_view> pieces(std::string_view text, char at) {
  std::vector<std::string_view> result;
  for (;;) {
    const auto end = text.find(at);
    result.push_back(text.substr(0, end));
    if (end == text.npos) return result;
    text.remove_prefix(end + 1);
  }
}

std::optional<int> whole(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

/// `ranks` over axes of at most `lengths`, the most even way; nothing if none multiplies out.
std::optional<std::vector<int>> spread(int ranks, const std::vector<int>& lengths) {
  if (lengths.empty()) return ranks == 1 ? std::optional(std::vector<int>{}) : std::nullopt;
  std::optional<std::vector<int>> best;
  const std::vector<int> rest(lengths.begin() + 1, lengths.end());
  for (int size = std::min(ranks, lengths.front()); size >= 1; --size) {
    if (ranks % size != 0) continue;
    auto others = spread(ranks / size, rest);
    if (!others) continue;
    others->insert(others->begin(), size);
    if (!best || std::ranges::max(*others) < std::ranges::max(*best)) best = std::move(others);
  }
  return best;
}

/// Ranks along each of the network's axes from the text of a row.
std::optional<std::vector<int>> extents_of(std::string_view text, int ranks, const sim::Network& network) {
  const auto& axes = network.axes();
  std::vector<int> extents;
  double product = 1;
  for (std::string_view piece : pieces(text, 'x')) {
    const auto size = whole(piece);
    if (!size || extents.size() == axes.size()) { extents.clear(); break; }
    extents.push_back(*size);
    product *= *size;
  }
  const bool fits = std::ranges::equal(extents, std::span(axes).first(extents.size()), [](int size, const auto& axis) { return size <= axis.first; });
  if (!extents.empty() && product == ranks && fits) return extents;
  std::vector<int> lengths;
  if (const auto count = whole(text); count && static_cast<std::size_t>(*count) <= axes.size()) {
    for (int i = 0; i < *count; ++i) lengths.push_back(axes[static_cast<std::size_t>(i)].first);
    return spread(ranks, lengths);
  }
  const auto names = pieces(text, '+');
  for (std::string_view name : names)
    if (!std::ranges::count(network.levels(), name)) return std::nullopt;
  int left = ranks;
  extents.clear();
  for (const auto& [length, level] : axes) {
    const bool named = std::ranges::count(names, network.levels()[level]) > 0;
    extents.push_back(named ? std::min(left, length) : 1);
    if (left % extents.back() != 0) return std::nullopt;
    left /= extents.back();
  }
  return left == 1 ? std::optional(extents) : std::nullopt;
}

/// What the rows are priced on.
struct Machine {
  hw::System system;
  sim::CalibrationBook book;
  sim::Network network;
  sim::KernelPredictor predictor;
};

Result<Machine> load_machine(const Session& session, const std::string& name, double efficiency) {
  auto system = load_system(session, name);
  if (!system) return fail(system.error());
  auto book = sim::CalibrationBook::load(session.catalog(), system->chip(), system->id);
  if (!book) return fail(book.error());
  const bool asserted = efficiency > 0;
  sim::Network network(*system, 0, asserted ? nullptr : &*book, {.efficiency = efficiency, .overheads = !asserted});
  std::vector<std::pair<std::string, double>> assume;
  if (asserted) assume.emplace_back("collective", efficiency);
  sim::KernelPredictor predictor(system->chip(), *book, std::move(assume));
  return Machine{std::move(*system), std::move(*book), std::move(network), std::move(predictor)};
}

struct Columns {
  std::optional<std::size_t> algorithm, axes;
};

std::string cell_of(const CsvRow& row, std::optional<std::size_t> column) { return column ? row.cells[*column] : std::string{}; }

Result<sim::NetworkCost> price(const Machine& machine, const sim::KernelCall& call, const Columns& columns, const CsvTable& table, const CsvRow& row) {
  const sim::Message& m = call.message;
  const int chips = machine.system.pools.front().chips();
  if (m.ranks > chips || m.ranks != std::floor(m.ranks))
    return fail(Diagnostic{table.at(row), fmt::format("num_gpus is {:g}, but the system has {} chips", m.ranks, chips), "a whole number, at most the system's chips"});
  const std::string name = cell_of(row, columns.algorithm), axes = cell_of(row, columns.axes);
  const auto forced = sim::parse_algorithm(name);
  if (!name.empty() && !forced)
    return fail(Diagnostic{table.at(row), fmt::format("'{}' is no algorithm", excerpt(name)), "ring, bidirectional_ring, torus, halving_doubling, double_binary_tree, direct, hierarchical or in_network; empty: the fastest"});
  const sim::Transfer transfer{m.kind, m.bytes, call.activations};
  sim::NetworkCost cost;
  if (axes.empty()) {
    cost = machine.network.cost(transfer, {m.ranks, 1}, forced);
  } else {
    const auto extents = extents_of(axes, static_cast<int>(m.ranks), machine.network);
    if (!extents)
      return fail(Diagnostic{table.at(row), fmt::format("axes '{}' do not hold {:g} chips", excerpt(axes), m.ranks), fmt::format("ranks along each axis as in 4x8, or levels: {}", fmt::join(machine.network.levels(), ", "))});
    cost = machine.network.cost_over(transfer, *extents, forced);
  }
  if (forced && m.ranks > 1 && cost.algorithm != *forced)
    return fail(Diagnostic{table.at(row), fmt::format("{} does not run as {} over {:g} chips there", to_string(m.kind), name, m.ranks), "leave the algorithm empty: the fastest is chosen"});
  return cost;
}

std::string line_of(const Machine& machine, const sim::NetworkCost& cost) {
  const std::string_view bound = cost.latency_s > 0.5 * cost.seconds ? "launch" : "network";
  const std::string level = machine.network.levels().empty() ? "" : machine.network.levels()[cost.level];
  return fmt::format("{},{},{},{},{},{},{},{}", micro(cost.seconds), micro(cost.floor_s), bound, sim::to_string(cost.provenance), micro(cost.low), micro(cost.high), to_string(cost.algorithm), level);
}

/// An inference engine's own all-reduce inside the node, where the chip's constants know it.
std::string custom_line(const Machine& machine, const sim::KernelCall& call) {
  const sim::KernelPrediction p = machine.predictor.predict(call);
  return fmt::format("{},{},{},{},{},{},direct,{}", micro(p.seconds), micro(p.roofline), p.bound, sim::to_string(p.provenance), micro(p.low), micro(p.high), machine.network.levels().front());
}

}  // namespace

Result<std::string> network_rows(const Session& session, const CsvTable& table, const std::string& system, double efficiency) {
  const auto machine = load_machine(session, system, efficiency);
  if (!machine) return fail(machine.error());
  const auto reader = sim::RowReader::make(table, sim::KernelKind::collective);
  if (!reader) return fail(reader.error());
  const Columns columns{table.column("algorithm"), table.column("axes")};
  const auto& pool = machine->system.pools.front();
  const double inside = pool.network.empty() ? 1 : pool.network.front().size;
  std::string out = csv_line(table.header) + ",predicted_us,roofline_us,bound,provenance,predicted_lo_us,predicted_hi_us,chosen_algorithm,slowest_level\n";
  for (const CsvRow& row : table.rows) {
    const auto call = reader->read(row);
    if (!call) return fail(call.error());
    const bool engine = call->message.custom && call->message.ranks > 1 && call->message.ranks <= inside && cell_of(row, columns.algorithm).empty() && cell_of(row, columns.axes).empty();
    out += csv_line(row.cells) + ",";
    if (engine && machine->predictor.book().find(sim::KernelKind::collective, "custom").fit) {
      out += custom_line(*machine, *call) + "\n";
      continue;
    }
    const auto cost = price(*machine, *call, columns, table, row);
    if (!cost) return fail(cost.error());
    out += line_of(*machine, *cost) + "\n";
  }
  for (const std::string& note : machine->network.notes()) session.say(fmt::format("note: {}", note));
  return out;
}

}  // namespace gambrel::cli
