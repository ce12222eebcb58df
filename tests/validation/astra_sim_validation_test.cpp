// Collectives beside another simulator's: 986 runs of ASTRA-sim (simulated, not measured). What it does otherwise than
// hardware is an option here: switches store and forward, or their ports do not contend; a chunk is reduced at the local
// memory's rate; chunks of a message wait for each other. docs/network.md says more.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/csv.hpp"
#include "base/load.hpp"
#include "tests/unit/network_support.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;
using hw::TopologyKind;

constexpr double gib_per_ns = 1.073741824e9;  // "GB/s" there is GiB a second, in B/s

struct Dimension {
  std::string block, algorithm;
  double size = 1, bandwidth = 0, latency = 0;  ///< B/s, s
};

struct SimulatedRun {
  CollectiveKind kind = all_reduce;
  std::vector<Dimension> dimensions;
  double bytes = 0;  ///< as gambrel counts: an all-gather's whole output
  double splits = 1, active = 1, endpoint = 0, memory = 0, seconds = 0;
  bool aware = false;
  std::string group;
};

std::vector<std::string> pieces(const std::string& text, const std::string& between) {
  std::vector<std::string> result;
  std::size_t at = 0;
  for (std::size_t end; (end = text.find(between, at)) != std::string::npos; at = end + between.size()) result.push_back(text.substr(at, end - at));
  result.push_back(text.substr(at));
  return result;
}

SimulatedRun run_of(const CsvTable& table, const CsvRow& row) {
  const auto text = [&](const char* column) { return row.cells[table.column(column).value()]; };
  const auto number = [&](const char* column) { return std::stod(text(column)); };
  SimulatedRun run;
  for (const CollectiveKind kind : {all_reduce, all_gather, reduce_scatter, all_to_all})
    if (text("collective") == to_string(kind)) run.kind = kind;
  const auto blocks = pieces(text("topology"), " x "), sizes = pieces(text("npus_per_dim"), "x"), rates = pieces(text("bandwidth_GiBps_per_dim"), "x");
  const auto latencies = pieces(text("latency_ns_per_dim"), "x"), algorithms = pieces(text("algorithm_per_dim"), "+");
  for (std::size_t i = 0; i < blocks.size(); ++i)
    run.dimensions.push_back({blocks[i], algorithms[i], std::stod(sizes[i]), std::stod(rates[i]) * gib_per_ns, std::stod(latencies[i]) * 1e-9});
  run.bytes = number("comm_size_bytes") * (run.kind == all_gather ? number("npus") : 1);
  run.splits = number("preferred_dataset_splits");
  run.active = std::min(number("active_chunks_per_dimension"), run.splits);
  run.endpoint = number("endpoint_delay_ns") * 1e-9;
  run.memory = number("local_mem_bw_GBps") * 1e9;
  run.seconds = number("predicted_ns") * 1e-9;
  run.aware = text("backend") == "Aware";
  run.group = fmt::format("{} {} {} {}{}", text("topology"), text("backend"), text("collective"), text("algorithm_per_dim"),
                          run.splits == 1 && number("local_mem_bw_GBps") > 1e5 ? " pure" : "");
  return run;
}

hw::NetworkLevel level_of(const Dimension& d) {
  const int size = static_cast<int>(d.size);
  if (d.block == "Ring") return grid(TopologyKind::torus, {size}, d.bandwidth, d.latency);
  if (d.block == "Switch") return joined("switch", TopologyKind::switched, size, d.bandwidth, d.latency);
  return joined("full", TopologyKind::fully_connected, size, d.bandwidth * (d.size - 1), d.latency);
}

/// One chunk on one dimension, `bytes` of it, before what the local memory adds.
double network_seconds(const SimulatedRun& run, const Dimension& d, CollectiveKind kind, double bytes, bool store_and_forward) {
  const Network network(system_of({level_of(d)}), 0, nullptr,
                        {.efficiency = 1, .overheads = false, .switch_hops = 2, .store_and_forward = store_and_forward, .port_contention = run.aware, .step_s = run.endpoint});
  const Algorithm algorithm = d.algorithm == "ring" ? Algorithm::ring : d.algorithm == "direct" ? Algorithm::direct : Algorithm::halving_doubling;
  return network.cost({kind, bytes}, {d.size, 1}, algorithm).seconds;
}

/// Adding reads a message and what it is added to and writes the sum, 3 bytes for one. A ring adds in every step; direct
/// sends arrive together and are added as one; recursive halving does not add in its first step.
double reduction_seconds(const SimulatedRun& run, const Dimension& d, CollectiveKind kind, double bytes) {
  if (kind != all_reduce && kind != reduce_scatter) return 0;
  const double share = d.algorithm == "direct" ? 1 / d.size : d.algorithm == "ring" ? 1 - 1 / d.size : 0.5 - 1 / d.size;
  return 3 * bytes * share / run.memory;
}

/// Its ring all-to-all forwards messages one by one: n(n-1)/2 steps of one message, each over one link.
double ring_all_to_all(const SimulatedRun& run, const Dimension& d, double bytes) {
  const double hops = d.block == "Switch" ? 2 : 1;
  return d.size * (d.size - 1) / 2 * (hops * d.latency + run.endpoint + bytes / d.size / d.bandwidth);
}

/// Its double binary tree is one tree of unpipelined chunks: 2 log2 n - 1 steps of the whole chunk, 2 log2 n + 2 additions.
double tree(const SimulatedRun& run, const Dimension& d, double bytes) {
  const double depth = std::log2(d.size);
  return (2 * depth - 1) * (2 * d.latency + run.endpoint + bytes / d.bandwidth) + (2 * depth + 2) * 3 * bytes / run.memory;
}

double one_dimension(const SimulatedRun& run, const Dimension& d, CollectiveKind kind, double bytes, bool store_and_forward) {
  if (d.algorithm == "doubleBinaryTree") return tree(run, d, bytes);
  if (kind == all_to_all && d.algorithm == "ring") return ring_all_to_all(run, d, bytes);
  return network_seconds(run, d, kind, bytes, store_and_forward) + reduction_seconds(run, d, kind, bytes);
}

/// One chunk on each dimension. A reduce-scatter goes through the dimensions in order, each on what the last one left; an
/// all-gather goes back; an all-to-all moves all bytes on each.
std::vector<double> chunk_seconds(const SimulatedRun& run, double bytes, bool store_and_forward) {
  if (run.dimensions.size() == 1) return {one_dimension(run, run.dimensions.front(), run.kind, bytes, store_and_forward)};
  std::vector<double> seconds;
  for (const Dimension& d : run.dimensions) {
    double& here = seconds.emplace_back(0);
    for (const CollectiveKind kind : {reduce_scatter, all_gather})
      if (run.kind == kind || run.kind == all_reduce) here += one_dimension(run, d, kind, bytes, store_and_forward);
    if (run.kind == all_to_all) here += one_dimension(run, d, all_to_all, bytes, store_and_forward);
    else bytes /= d.size;
  }
  return seconds;
}

/// Chunks follow each other through the dimensions: the slowest one is busy for all of them. The two halves of an
/// all-reduce fill each other's gaps.
double following(const SimulatedRun& run, const std::vector<double>& dimensions, double chunks) {
  double sum = 0;
  for (const double seconds : dimensions) sum += seconds;
  const double slowest = *std::ranges::max_element(dimensions);
  return run.kind == all_reduce ? std::max(sum, chunks * slowest) : sum + (chunks - 1) * slowest;
}

/// `splits` chunks, `active` at a time: chunks wait for each other, or for the links, which then are busy all the time.
/// The last message of a store-and-forward switch is not hidden behind another chunk's.
double form(const SimulatedRun& run) {
  const double chunks = following(run, chunk_seconds(run, run.bytes / run.splits, run.aware), run.splits / run.active);
  if (run.active <= 1) return chunks;
  const Dimension& first = run.dimensions.front();
  const bool stored = first.block == "Switch" && run.aware;
  const double last = stored ? (run.active - 1) * run.bytes / run.splits / first.size / first.bandwidth : 0;
  SimulatedRun links = run;
  links.endpoint = 0;
  links.memory = 1e30;
  for (Dimension& d : links.dimensions) d.latency *= 1e-9;
  return std::max(chunks + last, chunk_seconds(links, run.bytes, false).front() + first.latency);
}

struct Errors {
  double sum = 0, worst = 0;
  int rows = 0;
  void add(double error) {
    sum += std::abs(error);
    worst = std::max(worst, std::abs(error));
    ++rows;
  }
  double mean() const { return sum / rows; }
};

TEST_CASE("astra-sim: collectives agree under its own assumptions") {
  const std::string file = GAMBREL_SOURCE_DIR "/../shared/reference/astra-sim/reference.csv";
  if (!std::filesystem::exists(file)) {
    MESSAGE("skipped: ../shared/reference/astra-sim/reference.csv is not there");
    return;
  }
  const auto table = read_text(file, 16u << 20).and_then([&](std::string text) { return parse_csv(std::move(text), file); });
  REQUIRE(table.has_value());
  std::map<std::string, Errors> groups;
  Errors pure_rings, all;
  for (const CsvRow& row : table->rows) {
    const SimulatedRun run = run_of(*table, row);
    const double error = form(run) / run.seconds - 1;
    groups[run.group].add(error);
    all.add(error);
    const bool ring = run.dimensions.size() == 1 && run.dimensions.front().algorithm == "ring" && run.kind != all_to_all;
    if (ring && run.group.ends_with(" pure")) pure_rings.add(error);
  }
  std::string report;
  for (const auto& [group, errors] : groups) report += fmt::format("{:<70} {:4d} rows, mean {:8.3f} %, max {:8.3f} %\n", group, errors.rows, 100 * errors.mean(), 100 * errors.worst);
  MESSAGE(report);
  MESSAGE(fmt::format("pure rings: {} rows, mean {:.4f} %, max {:.4f} %; all {} rows: mean {:.3f} %, max {:.2f} %", pure_rings.rows, 100 * pure_rings.mean(), 100 * pure_rings.worst, all.rows, 100 * all.mean(), 100 * all.worst));
  CHECK(pure_rings.rows == 72);
  CHECK(pure_rings.worst <= 0.001);
  CHECK(all.rows == 986);
  CHECK(all.mean() <= 0.002);
  CHECK(all.worst <= 0.18);  // 3 rows of two switches in a row, where both dimensions are busy
}

}  // namespace
}  // namespace gambrel::sim
