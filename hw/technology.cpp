#include "hw/technology.hpp"

#include <algorithm>
#include <cmath>

#include "base/schema.hpp"
#include "hw/decode.hpp"

namespace gambrel::hw {
namespace {

constexpr double mm2 = 1e-6, cm2 = 1e-4, kib = 1024, gb = 1e9;

const Node& member(const Node& node, std::string_view key) {
  static const Node empty = Node::mapping();
  const Node* found = node.find(key);
  return found && !found->is_null() ? *found : empty;
}

void read_nodes(Decoder& decoder, const Node& list, Technology& t) {
  for (const Node& row : list.items) {
    const double node = decoder.quantity<Metres>(row, "node").value;
    t.density.add(node, row.number_or("transistors_per_mm2", 0) / mm2);
    t.bit_cell.add(node, decoder.quantity<SquareMetres>(row, "bit_cell").value);
    t.wafer.add(node, decoder.quantity<Dollars>(row, "wafer").value);
    t.defects.add(node, row.number_or("defects_per_cm2", 0) / cm2);
  }
}

Format format_of(Decoder& decoder, const std::string& name, const Position& at) {
  const auto named = parse_data_type(name);
  if (!named) decoder.error(at, named.error());
  return named ? named->type.format : Format::fp32;
}

void read_energies(Decoder& decoder, const Node& document, Technology& t) {
  const Node& arithmetic = member(document, "arithmetic");
  if (const Node* reference = arithmetic.find("scales_as")) t.scales_as = format_of(decoder, reference->text, reference->at);
  for (const Node& row : member(arithmetic, "at").items)
    for (const Member& one : row.members)
      if (one.key != "node")
        t.arithmetic[static_cast<std::size_t>(format_of(decoder, one.key, one.key_at))].add(
            decoder.quantity<Metres>(row, "node").value, decoder.number_in(one.value, JoulesPerFlop::dimension));
  t.matrix_delivery = member(document, "delivery").number_or("matrix", 0);
  for (const Node& row : member(member(document, "delivery"), "vector").items)
    t.vector_delivery.add(decoder.quantity<Metres>(row, "node").value, decoder.quantity<JoulesPerFlop>(row, "energy").value);
  for (const Node& row : member(document, "sram").items) {
    const double capacity = decoder.quantity<Bytes>(row, "capacity").value;
    auto place = std::ranges::lower_bound(t.sram, capacity, {}, &std::pair<double, Curve>::first);
    if (place == t.sram.end() || place->first != capacity) place = t.sram.insert(place, {capacity, {}});
    place->second.add(decoder.quantity<Metres>(row, "node").value, decoder.quantity<JoulesPerByte>(row, "energy").value);
  }
}

std::vector<Interface> read_interfaces(Decoder& decoder, const Node& list) {
  std::vector<Interface> interfaces;
  for (const Node& row : list.items)
    interfaces.push_back({.match = row.text_or("match", ""),
                          .node = decoder.quantity<Metres>(row, "node"),
                          .energy = decoder.quantity<JoulesPerByte>(row, "energy"),
                          .channel = decoder.quantity<BytesPerSecond>(row, "channel"),
                          .phy = decoder.quantity<SquareMetres>(row, "phy"),
                          .controller = row.number_or("controller", 0),
                          .dollars_per_byte = row.number_or("usd_per_gb", 0) / gb,
                          .interposer = row.boolean_or("interposer", false)});
  return interfaces;
}

void read_logic(Decoder& decoder, const Node& logic, Technology& t) {
  for (const Member& one : member(logic, "multiply_add").members)
    t.multiply_add[static_cast<std::size_t>(format_of(decoder, one.key, one.key_at))] = one.value.number;
  t.transistors_per_register_byte = logic.number_or("register_file_per_kib", 0) / kib;
  if (logic.find("clock")) t.clock = decoder.quantity<Hertz>(logic, "clock");
  for (std::size_t kind = 0; kind < t.kinds.size(); ++kind) {
    const Node& row = member(member(logic, "kinds"), to_string(static_cast<ChipKind>(kind)));
    t.kinds[kind] = {.matrix = row.number_or("matrix", 1),
                     .control = row.number_or("control_per_vector_unit", 0),
                     .interconnect = row.number_or("interconnect_per_core", 0),
                     .registers = decoder.quantity<Bytes>(row, "registers"),
                     .sram = row.number_or("sram", 2)};
  }
}

void read_manufacture(Decoder& decoder, const Node& document, Technology& t) {
  const Node& manufacture = member(document, "manufacture");
  t.static_power = member(document, "power").number_or("static_w_per_mm2", 0) / mm2;
  t.wafer_diameter = decoder.quantity<Metres>(manufacture, "wafer_diameter");
  t.clustering = manufacture.number_or("defect_clustering", 3);
  t.package = decoder.quantity<Dollars>(manufacture, "package");
  t.interposer = manufacture.number_or("interposer_usd_per_mm2", 0) / mm2;
}

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool begins_with(std::string_view text, std::string_view start) {
  if (text.size() < start.size()) return false;
  for (std::size_t i = 0; i < start.size(); ++i)
    if (lower(text[i]) != lower(start[i])) return false;
  return true;
}

/// How far apart two nodes are; an entry of any node is farther than one that names a node.
double distance(Metres a, Metres b) { return a.value > 0 && b.value > 0 ? std::abs(std::log(a / b)) : 1e3; }

const Interface* find(const std::vector<Interface>& list, std::string_view name, Metres process) {
  const Interface* best = nullptr;
  for (const Interface& one : list) {
    if (!begins_with(name, one.match)) continue;
    const bool longer = !best || one.match.size() > best->match.size();
    if (longer || (one.match.size() == best->match.size() && distance(one.node, process) < distance(best->node, process))) best = &one;
  }
  return best;
}

}  // namespace

void Curve::add(double x, double y) {
  if (x <= 0 || y <= 0) return;
  points.insert(std::ranges::upper_bound(points, x, {}, &std::pair<double, double>::first), {x, y});
}

bool Curve::covers(double x) const { return !points.empty() && x >= points.front().first && x <= points.back().first; }

double Curve::at(double x) const {
  if (points.size() < 2) return points.empty() ? 0 : points.front().second;
  auto right = std::ranges::lower_bound(points, x, {}, &std::pair<double, double>::first);
  right = std::clamp(right, points.begin() + 1, points.end() - 1);
  const auto [x0, y0] = *(right - 1);
  const auto [x1, y1] = *right;
  return x1 == x0 ? y1 : y0 * std::exp(std::log(y1 / y0) * std::log(x / x0) / std::log(x1 / x0));
}

std::optional<JoulesPerFlop> Technology::arithmetic_energy(Format format, Metres process) const {
  const Curve& own = arithmetic[static_cast<std::size_t>(format)];
  const Curve& reference = arithmetic[static_cast<std::size_t>(scales_as)];
  if (own.points.empty()) return std::nullopt;
  if (own.points.size() > 1 || reference.points.empty()) return JoulesPerFlop{own.at(process.value)};
  const auto [node, energy] = own.points.front();
  return JoulesPerFlop{energy * reference.at(process.value) / reference.at(node)};
}

JoulesPerByte Technology::sram_energy(Bytes capacity, Metres process) const {
  Curve by_capacity;
  for (const auto& [size, by_node] : sram) by_capacity.add(size, by_node.at(process.value));
  return JoulesPerByte{by_capacity.at(capacity.value)};
}

const Interface* Technology::memory(const MemoryLevel& level) const {
  return find(memories, level.type.empty() ? level.level : level.type, Metres{0});
}

const Interface* Technology::link(std::string_view name, Metres process) const {
  const Interface* named = find(links, name, process);
  return named ? named : find(links, "any", process);
}

Result<Technology> read_technology(const Node& document) {
  Decoder decoder;
  Technology t;
  t.id = own_name(document, "technology");
  read_nodes(decoder, member(document, "nodes"), t);
  read_energies(decoder, document, t);
  t.memories = read_interfaces(decoder, member(document, "memories"));
  t.links = read_interfaces(decoder, member(document, "links"));
  read_logic(decoder, member(document, "logic"), t);
  read_manufacture(decoder, document, t);
  if (!decoder.errors.empty()) return fail(std::move(decoder.errors));
  return t;
}

Result<Node> load_technology_document(const Catalog& catalog) {
  if (!catalog.has("technology", "default")) return Node{};
  auto document = catalog.load("technology", "default");
  if (!document) return document;
  if (Diagnostics problems = validate(*document, "technology"); !problems.empty()) return fail(std::move(problems));
  return document;
}

Result<std::optional<Technology>> load_technology(const Catalog& catalog) {
  const auto document = load_technology_document(catalog);
  if (!document) return fail(document.error());
  if (document->is_null()) return std::optional<Technology>{};
  return read_technology(*document).map([](Technology t) { return std::optional(std::move(t)); });
}

}  // namespace gambrel::hw
