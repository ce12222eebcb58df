// What silicon costs by process node: energies, areas and prices that a chip's description leaves open.
// The figures are data (configs/technology/), each with its source; here is how they are read and interpolated.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/catalog.hpp"
#include "hw/chip.hpp"

namespace gambrel::hw {

/// A positive quantity over another, straight in log-log between its points and continued beyond them.
struct Curve {
  std::vector<std::pair<double, double>> points;  ///< x ascending
  double at(double x) const;                      ///< 0 without points; constant with one
  bool covers(double x) const;                    ///< between the first and the last point
  void add(double x, double y);
};

/// A memory off the chip, or a link.
struct Interface {
  std::string match;         ///< the beginning of its type or name
  Metres node{0};            ///< of two with the same `match`, the nearer one holds; 0: of any node
  JoulesPerByte energy{0};
  BytesPerSecond channel{0};  ///< what one PHY serves
  SquareMetres phy{0};        ///< of one PHY, at every node: analogue circuits do not shrink
  double controller = 0;      ///< transistors of one channel
  double dollars_per_byte = 0;
  bool interposer = false;
};

/// What surrounds the arithmetic on one kind of chip; transistors.
struct Surroundings {
  double matrix = 1;        ///< area of a matrix unit over its multiply-adders'
  double control = 0;       ///< of one vector unit
  double interconnect = 0;  ///< of one core
  Bytes registers{0};       ///< of one vector unit
  double sram = 2;          ///< area of a memory over its cells'
};

struct Technology {
  std::string id;
  Curve density;   ///< m -> transistors a m2
  Curve bit_cell;  ///< m -> m2
  Curve wafer;     ///< m -> USD
  Curve defects;   ///< m -> 1/m2
  std::array<Curve, format_count> arithmetic;  ///< m -> J a FLOP
  Format scales_as = Format::fp16;             ///< whose scaling holds for formats known at one node only
  double matrix_delivery = 0;                  ///< share on top of a matrix unit's arithmetic
  Curve vector_delivery;                       ///< m -> J a FLOP on top of a vector unit's
  std::vector<std::pair<double, Curve>> sram;  ///< capacity of one instance (B, ascending), m -> J a byte
  std::vector<Interface> memories, links;
  std::array<double, format_count> multiply_add{};  ///< transistors, 0: not stated
  double transistors_per_register_byte = 0;
  std::array<Surroundings, 6> kinds;                ///< by ChipKind
  Hertz clock{1e9};                                 ///< of units that state none
  double static_power = 0;                          ///< W a m2, of chips that state no idle power
  Metres wafer_diameter{0.3};
  double clustering = 3;                            ///< alpha of the negative binomial yield
  Dollars package{0};
  double interposer = 0;                            ///< USD a m2 of die

  /// Of bare arithmetic; nothing for a format that the table does not know.
  std::optional<JoulesPerFlop> arithmetic_energy(Format format, Metres process) const;
  /// Of one byte, from a memory whose instances have that capacity.
  JoulesPerByte sram_energy(Bytes capacity, Metres process) const;
  /// How a memory is reached; nullptr if it is on the chip.
  const Interface* memory(const MemoryLevel& level) const;
  /// A link by its name, at a chip's process; nullptr only if the table has no `any`.
  const Interface* link(std::string_view name, Metres process) const;
};

/// Decodes a validated document.
Result<Technology> read_technology(const Node& document);

/// configs/technology/default.yaml, validated; a null node if the catalog has none.
Result<Node> load_technology_document(const Catalog& catalog);
/// The same, decoded; nothing of a null node.
Result<std::optional<Technology>> load_technology(const Catalog& catalog);

/// Gives the chip the energies and the idle power that its file leaves open, if it states its process. Returns notes
/// that say what was taken: one a table.
std::vector<std::string> fill_energy(Chip& chip, const Technology& technology);

}  // namespace gambrel::hw
