// Time of collectives on a system's network: algorithms, link loads, contention; the best is chosen and named.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/collective.hpp"
#include "hw/system.hpp"
#include "sim/estimate.hpp"
#include "sim/plan.hpp"

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
  double sent_bytes = 0;         ///< by the busiest rank
  Algorithm algorithm = Algorithm::ring;
  std::size_t level = 0;         ///< of Network::levels, the one that takes longest
  Provenance provenance = Provenance::analytic;
};

class Network {
 public:
  /// `shared_cores`, rates and latencies come from the system's levels; a chip whose node was calibrated uses its constants.
  explicit Network(const hw::System& system, std::size_t pool = 0);
  ~Network();
  Network(Network&&) noexcept;

  /// A group of one costs nothing. `forced` that the topology cannot run falls back to the best; see `runs`.
  NetworkCost cost(const Transfer& transfer, const RankGroup& group, std::optional<Algorithm> forced = {}) const;
  bool runs(Algorithm algorithm, CollectiveKind kind, const RankGroup& group) const;
  /// all-to-all with unequal parts: traffic[i * size + j] bytes from member i to member j of each group.
  NetworkCost exchange(const std::vector<double>& traffic, const RankGroup& group) const;

  const std::vector<std::string>& levels() const;  ///< innermost first

 private:
  struct Fabric;
  std::unique_ptr<Fabric> fabric_;
};

}  // namespace gambrel::sim
