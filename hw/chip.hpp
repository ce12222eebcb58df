// What a chip is: compute units, memories and the levels they sit at, as its datasheet states them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/data_type.hpp"
#include "base/node.hpp"
#include "base/quantity.hpp"
#include "base/result.hpp"

namespace gambrel::hw {

enum class ChipKind { gpu, tpu, npu, cpu, wafer, pim };
enum class UnitKind { matrix, vector, scalar, gather };
enum class Dataflow { weight_stationary, output_stationary, input_stationary };

/// One level of the chip's hierarchy, e.g. 2 dies of 74 cores; `link` joins the members of this level.
struct HierarchyLevel {
  std::string level;
  int count = 1;            ///< members in one member of the level outside
  BytesPerSecond link{0};   ///< one direction, of one member; 0: not stated
  Seconds link_latency{0};  ///< 0: not stated
};

/// What can be computed, and how fast with dense operands. Rates are for the whole chip.
struct ComputeUnit {
  std::string name;
  UnitKind kind = UnitKind::vector;
  std::string at;                                       ///< hierarchy level or memory level it sits at; "" = the chip
  double instances = 1;                                 ///< in the whole chip
  Hertz clock{0};                                       ///< 0: not stated
  std::vector<std::pair<Format, FlopsPerSecond>> peak;  ///< dense, whole chip
  std::vector<int> tile;                                ///< tensor core: m, n, k of one instruction tile; else empty
  std::vector<int> array;                               ///< systolic array: rows, columns; else empty
  Dataflow dataflow = Dataflow::weight_stationary;
  std::vector<std::pair<std::string, double>> sparsity;  ///< "2:4" -> speed-up over dense
  BytesPerSecond bandwidth{0};                           ///< arithmetic in memory: what the unit reads at its level
  std::vector<std::string> ops;  ///< what an in-memory or gather unit can do; empty = everything of its kind
  Bytes registers{0};            ///< register file of one instance; 0: not stated

  /// Dense rate for operands of `format`; nothing if the unit cannot compute in it.
  std::optional<FlopsPerSecond> rate(Format format) const;
};

/// Capacity and bandwidth are of the whole chip (instances x one).
struct MemoryLevel {
  std::string level;
  std::string type;             ///< "HBM3"; may be empty
  Bytes capacity{0};            ///< 0: not stated
  BytesPerSecond bandwidth{0};  ///< 0: not stated
  Seconds latency{0};           ///< 0: not stated
  std::string per;              ///< hierarchy level it is private to; "" = shared by the chip
  double instances = 1;
  int behind = -1;          ///< index of the level it fills from; -1 = outermost
  bool scratchpad = false;  ///< managed by software; else a cache or main memory
};

struct EnergyTable {
  std::vector<std::pair<Format, JoulesPerFlop>> arithmetic;
  std::vector<std::pair<std::string, JoulesPerByte>> movement;  ///< by memory level
  JoulesPerFlop vector{0};  ///< of the vector unit, delivery included; 0: as `arithmetic` of the format
};

struct Chip {
  std::string id;    ///< the file's name, "h100-sxm"
  std::string name;  ///< to print
  ChipKind kind = ChipKind::gpu;
  std::string family;
  std::vector<HierarchyLevel> hierarchy;  ///< outermost first; empty = one core
  std::vector<ComputeUnit> compute;
  std::vector<MemoryLevel> memory;       ///< outermost first; [0] is main memory
  std::vector<MemoryLevel> host_memory;  ///< tiers behind `host_link`, nearest first
  BytesPerSecond host_link{0};           ///< one direction, this chip's part of a shared link; 0: not stated
  Seconds host_latency{0};               ///< 0: not stated
  std::optional<BytesPerSecond> link;    ///< scale-up links together, one direction
  std::string link_name;                 ///< "NVLink"; may be empty
  Seconds link_latency{0};               ///< 0: not stated
  EnergyTable energy;
  Watts tdp{0}, idle{0};  ///< 0: not stated
  SquareMetres die_area{0};
  Metres process{0};                                  ///< the node's name as a length; 0: not stated
  std::vector<std::pair<std::string, double>> built;  ///< hierarchy or memory level -> built over used, spares included
  Dollars hourly_price{0};  ///< rent of one hour; else capex over its lifetime + tdp's electricity
  Dollars capex{0};
  std::vector<std::pair<std::string, std::string>> sources;  ///< path -> where the figure is from; "default" first
  std::string notes;

  /// Members of a hierarchy level in the whole chip ("core" of 2 dies x 74 cores = 148); 1 for the chip itself.
  double members(std::string_view level) const;
  /// How many of a level are built for each one in use, at least 1: dies carry spares.
  double built_over_used(std::string_view level) const;
  /// Index of a memory level by its name; nothing if there is none.
  std::optional<std::size_t> memory_index(std::string_view level) const;
  /// The fastest unit of that kind for operands of `format`; nullptr if none computes in it. Units that are limited to
  /// some `ops` do not count: they cannot do everything of their kind.
  const ComputeUnit* unit(UnitKind wanted, Format format) const;
};

/// Decodes a validated chip document. `reference` is the document before any --set or sweep: peaks stated for the
/// chip scale with the number of cores and the clock that were changed since. Errors (a rate and a peak that differ
/// by more than 2 %, a level that is not there, memories in a cycle, no memory, no compute) carry positions.
Result<Chip> read_chip(const Node& document, const Node& reference);
inline Result<Chip> read_chip(const Node& document) { return read_chip(document, document); }

std::string_view to_string(ChipKind kind);
std::string_view to_string(UnitKind kind);
std::string_view to_string(Dataflow dataflow);

}  // namespace gambrel::hw
