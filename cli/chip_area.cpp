#include "cli/chip_area.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "reports/format.hpp"
#include "reports/grid.hpp"

namespace gambrel::cli {
namespace {

double mm2(SquareMetres area) { return area.value * 1e6; }

std::vector<std::pair<std::string, SquareMetres>> parts_of(const hw::Chip& chip, const hw::Silicon& silicon) {
  std::vector<std::pair<std::string, SquareMetres>> parts{{"matrix units", silicon.matrix},
                                                          {"vector units", silicon.vector},
                                                          {"control", silicon.control},
                                                          {"register files", silicon.registers},
                                                          {"interconnect", silicon.interconnect}};
  for (std::size_t i = 0; i < silicon.sram.size(); ++i)
    if (silicon.sram[i].value > 0) parts.emplace_back(chip.memory[i].level, silicon.sram[i]);
  parts.emplace_back("memory interface", silicon.memory);
  parts.emplace_back("links", silicon.links);
  parts.emplace_back("host link", silicon.host);
  return parts;
}

/// Prices are of the stated die, where it is.
hw::Price price_of(const hw::Chip& chip, const hw::Silicon& silicon, const hw::Technology& technology) {
  return hw::price_of(chip, chip.die_area.value > 0 ? chip.die_area : silicon.total(), silicon.dies, technology);
}

std::string area_cell(SquareMetres area) {
  if (!(area.value > 0)) return "-";
  return mm2(area) >= 100 ? fmt::format("{:.0f}", mm2(area)) : fmt::format("{:.3g}", mm2(area));
}

reports::Grid parts_grid(const hw::Chip& chip, const hw::Silicon& silicon) {
  reports::Grid grid;
  grid.headings = {{"part", false}, {"mm2"}, {"share"}};
  const SquareMetres whole = silicon.total();
  for (const auto& [name, area] : parts_of(chip, silicon))
    grid.rows.push_back({reports::display_name(name), area_cell(area), reports::percent(area / whole)});
  grid.rows.push_back({"modelled", area_cell(whole), "100.0%"});
  grid.total_row = true;
  return grid;
}

reports::Grid marginal_grid(const hw::Chip& chip, const hw::Technology& technology) {
  reports::Grid grid;
  grid.headings = {{"one more", false}, {"mm2"}, {"USD"}, {"W"}};
  for (const hw::Marginal& one : hw::marginals_of(chip, technology))
    grid.rows.push_back({reports::display_name(one.what), area_cell(one.area), fmt::format("{:.3g}", one.price.value),
                         fmt::format("{:.3g}", one.power.value)});
  return grid;
}

}  // namespace

Node area_node(const hw::Chip& chip, const hw::Technology& technology) {
  const hw::Silicon silicon = hw::silicon_of(chip, technology);
  const hw::Price price = price_of(chip, silicon, technology);
  Node node = Node::mapping();
  node.set("chip", Node::of(std::string_view(chip.id)));
  node.set("modelled_mm2", Node::of(mm2(silicon.total())));
  node.set("stated_mm2", chip.die_area.value > 0 ? Node::of(mm2(chip.die_area)) : Node{});
  node.set("dies", Node::of(silicon.dies));
  Node& parts = node.set("parts_mm2", Node::mapping());
  for (const auto& [name, area] : parts_of(chip, silicon)) parts.set(name, Node::of(mm2(area)));
  Node& cost = node.set("price", Node::mapping());
  cost.set("dies_per_wafer", Node::of(price.dies_per_wafer));
  cost.set("yield", Node::of(price.yield));
  cost.set("die_usd", Node::of(price.die.value));
  cost.set("memory_usd", Node::of(price.memory.value));
  cost.set("package_usd", Node::of(price.package.value));
  Node& margins = node.set("marginal", Node::sequence());
  for (const hw::Marginal& one : hw::marginals_of(chip, technology)) {
    Node& row = margins.append(Node::mapping());
    row.set("what", Node::of(std::string_view(one.what)));
    row.set("mm2", Node::of(mm2(one.area)));
    row.set("usd", Node::of(one.price.value));
    row.set("w", Node::of(one.power.value));
  }
  return node;
}

std::string area_text(const hw::Chip& chip, const hw::Technology& technology) {
  const hw::Silicon silicon = hw::silicon_of(chip, technology);
  const hw::Price price = price_of(chip, silicon, technology);
  std::string out = fmt::format("{}, {}\n\n{}\n", chip.name, to_string(chip.process), reports::terminal_grid(parts_grid(chip, silicon), false));
  out += chip.die_area.value > 0
             ? fmt::format("  stated    {:.0f} mm2: the model is {:+.1f}% off\n", mm2(chip.die_area), 100 * (silicon.total() / chip.die_area - 1))
             : "  stated    no die area\n";
  const std::string dies = silicon.dies > 1 ? fmt::format("{:.0f} dies", silicon.dies) : "die";
  out += fmt::format("  to make   {:.0f} USD: {:.0f} {} of {:.1f} a wafer at {:.0f}% yield, {:.0f} memory, {:.0f} package\n\n",
                     price.total().value, price.die.value, dies, price.dies_per_wafer, 100 * price.yield, price.memory.value,
                     price.package.value);
  return out + reports::terminal_grid(marginal_grid(chip, technology), false);
}

}  // namespace gambrel::cli
