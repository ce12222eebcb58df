// Time of collectives on a system's network: algorithms, link loads, contention; the best is chosen and named.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/collective.hpp"
#include "hw/system.hpp"
#include "sim/estimate.hpp"
#include "sim/plan/plan.hpp"

namespace gambrel::sim {

enum class Algorithm : std::uint8_t {
  ring, bidirectional_ring, torus, halving_doubling, double_binary_tree, direct, hierarchical, in_network
};
inline constexpr int algorithm_count = 8;
std::string_view to_string(Algorithm algorithm);
std::optional<Algorithm> parse_algorithm(std::string_view name);

/// `bytes`: the whole message, as in models::Communication. Every group of the same size and stride runs at the same time.
struct Transfer {
  CollectiveKind kind = CollectiveKind::all_reduce;
  double bytes = 0;
  DataType type = Format::bf16;
};

struct NetworkCost {
  double seconds = 0, low = 0, high = 0;
  double latency_s = 0;          ///< part of `seconds` that does not fall with the bytes
  double floor_s = 0;            ///< bytes each rank must send over its links at full rate: the network's roofline
  double sent_bytes = 0;         ///< by each rank, over all its links
  Algorithm algorithm = Algorithm::ring;
  std::size_t level = 0;         ///< of Network::levels, the one that takes longest
  Provenance provenance = Provenance::analytic;
};

/// How a simulator or a thought experiment differs from hardware. The defaults are hardware's.
struct NetworkOptions {
  double efficiency = 0;            ///< of every link; 0: as the system states, else by topology (docs/network.md)
  bool overheads = true;            ///< launch of a collective, and the gap between one rank's messages to its peers
  double switch_hops = 1;           ///< latencies that a message through a switch pays
  bool store_and_forward = false;   ///< a message through a switch is serialised twice
  bool port_contention = true;      ///< a rank's messages to several peers share its port
  double step_s = 0;                ///< more, of every step
};

class CalibrationBook;

class Network {
 public:
  /// Rates and latencies come from the levels of one pool and of what joins the pools. With a `book`, groups inside the
  /// innermost switch cost what its constants for collectives say, scaled to that switch; it is not kept.
  explicit Network(const hw::System& system, std::size_t pool = 0, const CalibrationBook* book = nullptr, const NetworkOptions& options = {});
  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  /// A group of one costs nothing. `forced` that the topology cannot run falls back to the best; see `runs`. A group
  /// that does not fill its levels evenly costs as much as the even one that covers it.
  NetworkCost cost(const Transfer& transfer, const RankGroup& group, std::optional<Algorithm> forced = {}) const;
  /// The group stated as its extent along each of `axes()`, 1 where it has none, each contiguous.
  NetworkCost cost_over(const Transfer& transfer, const std::vector<int>& extents, std::optional<Algorithm> forced = {}) const;
  bool runs(Algorithm algorithm, CollectiveKind kind, const RankGroup& group) const;
  /// all-to-all with unequal parts: traffic[i * size + j] bytes from member i to member j of each group.
  NetworkCost exchange(const std::vector<double>& traffic, const RankGroup& group) const;
  /// Each chip of this pool sends `bytes` to another pool, all of them at the same time. Nothing joins them: 0.
  NetworkCost handover(double bytes) const;

  const std::vector<std::string>& levels() const;  ///< innermost first
  /// Length of each axis, innermost first; an index into levels() beside it. A mesh or torus has several.
  const std::vector<std::pair<int, std::size_t>>& axes() const;
  /// What was not stated and is assumed: latencies and efficiencies, one sentence a level.
  const std::vector<std::string>& notes() const;

 private:
  struct Fabric;
  std::unique_ptr<Fabric> fabric_;
};

}  // namespace gambrel::sim
