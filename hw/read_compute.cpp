// The compute units of a chip: one dense rate per data type from what a datasheet states (a peak of the chip) and
// what an architecture manual states (FLOP a cycle of one unit).
#include <algorithm>
#include <cmath>
#include <cstddef>

#include <fmt/format.h>

#include "hw/decode.hpp"

namespace gambrel::hw {
namespace {

constexpr double agreement = 0.02;  // datasheets round the clock to 10 MHz and the peak to 3 digits

/// What a unit states, and what it stated before --set.
struct Statement {
  const Node& node;
  const Node* before;  ///< nullptr: the unit is new
  double instances = 1;
  double clock = 0;   ///< Hz; 0: not stated
  double growth = 1;  ///< instances over those before
  double scale = 1;   ///< growth x clock over the one before: how far a peak of the chip has moved
};

/// The level whose members carry the unit. A peak without `per` is the work of all cores together.
std::string home(const Node& unit, const Chip& chip) {
  if (unit.find("per")) return unit.text_or("per", "");
  const std::string at = unit.text_or("at", "");
  const auto known = level_names(chip.hierarchy);
  if (std::find(known.begin(), known.end(), at) != known.end()) return at;
  const bool of_the_cores = at.empty() && !unit.find("flops_per_cycle") && !known.empty();
  return of_the_cores ? known.back() : "";
}

double population(const Node& unit, const Chip& chip) {
  Decoder quiet;
  return quiet.integer(unit, "count", 1) * chip.members(home(unit, chip));
}

double clock_of(Decoder& decoder, const Node& unit) { return decoder.quantity<Hertz>(unit, "clock").value; }

Statement statement_of(Decoder& decoder, const Node& unit, const Node* before, const Revision& revision) {
  Statement statement{.node = unit, .before = before};
  statement.instances = decoder.integer(unit, "count", 1) * revision.now.members(unit.text_or("per", ""));
  statement.clock = clock_of(decoder, unit);
  if (!before) return statement;
  statement.growth = population(unit, revision.now) / population(*before, revision.before);
  Decoder quiet;
  const double clock_before = clock_of(quiet, *before);
  const bool clocked = clock_before > 0 && statement.clock > 0;
  statement.scale = statement.growth * (clocked ? statement.clock / clock_before : 1);
  return statement;
}

/// The member of `map` that states `format`, under whichever of its names.
const Node* stated(const Node* map, Format format) {
  if (!map) return nullptr;
  for (const Member& member : map->members) {
    const auto named = parse_data_type(member.key);
    if (named && named->type.format == format) return &member.value;
  }
  return nullptr;
}

bool changed(const Node& now, const Node* unit_before, std::string_view key, Format format) {
  const Node* was = unit_before ? stated(unit_before->find(key), format) : nullptr;
  return was && !equal(now, *was);
}

/// The formats a unit states, in the file's order; a name that is none, and a format under two names, are errors.
std::vector<Format> formats_of(Decoder& decoder, const Node& unit) {
  std::vector<Format> formats;
  for (const char* key : {"peak", "flops_per_cycle"}) {
    const Node* map = unit.find(key);
    if (!map) continue;
    std::vector<Format> here;
    for (const Member& member : map->members) {
      const auto named = parse_data_type(member.key);
      if (!named) {
        decoder.error(member.key_at, named.error());
      } else if (named->weight_only || !(named->type == DataType{named->type.format})) {
        decoder.error(member.key_at, fmt::format("'{}' is a way to store numbers, not one to compute with", member.key),
                      fmt::format("a rate is stated for its format, '{}'", to_string(named->type.format)));
      } else if (std::find(here.begin(), here.end(), named->type.format) != here.end()) {
        decoder.error(member.key_at, fmt::format("{} is stated twice", to_string(named->type.format)),
                      fmt::format("'{}' is another name of it", member.key));
      } else {
        here.push_back(named->type.format);
      }
    }
    for (const Format format : here)
      if (std::find(formats.begin(), formats.end(), format) == formats.end()) formats.push_back(format);
  }
  return formats;
}

/// flops_per_cycle x instances x clock; 0 where it is not stated.
double built_rate(Decoder& decoder, const Statement& unit, const Node* per_cycle) {
  if (!per_cycle) return 0;
  if (unit.clock == 0)
    decoder.error(per_cycle->at, "flops_per_cycle needs the unit's clock", "state `clock:` beside it, or a `peak:`");
  return per_cycle->number * unit.instances * unit.clock;
}

void check_agreement(Decoder& decoder, const Statement& unit, Format format, const Node& peak, double stated_rate,
                     double built) {
  const double off = std::abs(built - stated_rate) / stated_rate;
  if (built == 0 || off <= agreement) return;
  decoder.error(peak.at,
                fmt::format("the peak of {} is {}, but flops_per_cycle x {} instances x {} is {} ({:.1f} % off)",
                            to_string(format), to_string(FlopsPerSecond{stated_rate}), unit.instances,
                            to_string(Hertz{unit.clock}), to_string(FlopsPerSecond{built}), 100 * off),
                "they may differ by 2 %; correct one, or state only one of them");
}

/// A peak and a rate for the same format must agree; where --set changed one of them, that one holds.
FlopsPerSecond rate_of(Decoder& decoder, const Statement& unit, Format format) {
  const Node* peak = stated(unit.node.find("peak"), format);
  const Node* per_cycle = stated(unit.node.find("flops_per_cycle"), format);
  const double built = built_rate(decoder, unit, per_cycle);
  if (!peak) return FlopsPerSecond{built};
  const double whole = decoder.number_in(*peak, FlopsPerSecond::dimension) * unit.scale;
  if (!per_cycle) return FlopsPerSecond{whole};
  const bool new_peak = changed(*peak, unit.before, "peak", format);
  const bool new_rate = changed(*per_cycle, unit.before, "flops_per_cycle", format);
  if (new_rate && !new_peak) return FlopsPerSecond{built};
  if (new_peak == new_rate) check_agreement(decoder, unit, format, *peak, whole, built);
  return FlopsPerSecond{whole};
}

void check_places(Decoder& decoder, const Node& unit, const Chip& chip) {
  const std::vector<std::string> levels = level_names(chip.hierarchy);
  std::vector<std::string> places = level_names(chip.memory);
  places.insert(places.end(), levels.begin(), levels.end());
  const auto check = [&](const char* key, const char* what, const std::vector<std::string>& known) {
    const Node* name = unit.find(key);
    if (!name || name->is_null() || name->text == "chip") return;
    if (std::find(known.begin(), known.end(), name->text) == known.end())
      decoder.unknown(name->at, what, name->text, known);
  };
  check("per", "hierarchy level", levels);
  check("at", "memory or hierarchy level", places);
}

ComputeUnit read_unit(Decoder& decoder, const Member& member, const Revision& revision) {
  const Node& node = member.value;
  const Node* units_before = revision.reference.find("compute");
  const Statement statement =
      statement_of(decoder, node, units_before ? units_before->find(member.key) : nullptr, revision);
  ComputeUnit unit;
  unit.name = member.key;
  if (!node.find("kind"))
    decoder.error(member.key_at, fmt::format("compute unit '{}' has no kind", member.key),
                  "state `kind:` matrix, vector, scalar or gather");
  unit.kind = decoder.word(node, "kind", UnitKind::gather, UnitKind::vector);
  unit.at = node.text_or("at", node.text_or("per", ""));
  if (unit.at == "chip") unit.at.clear();
  unit.instances = statement.instances;
  unit.clock = Hertz{statement.clock};
  unit.registers = decoder.quantity<Bytes>(node, "registers");
  unit.tile = decoder.integers(node, "tile");
  unit.array = decoder.integers(node, "array");
  unit.dataflow = decoder.word(node, "dataflow", Dataflow::input_stationary, Dataflow::weight_stationary);
  unit.bandwidth = decoder.quantity<BytesPerSecond>(node, "bandwidth") * statement.growth;
  if (const Node* pairs = node.find("sparsity"))
    for (const Member& pattern : pairs->members) unit.sparsity.emplace_back(pattern.key, pattern.value.number);
  if (const Node* ops = node.find("ops"))
    for (const Node& op : ops->items) unit.ops.push_back(op.text);
  for (const Format format : formats_of(decoder, node))
    unit.peak.emplace_back(format, rate_of(decoder, statement, format));
  check_places(decoder, node, revision.now);
  return unit;
}

}  // namespace

std::vector<ComputeUnit> read_compute(Decoder& decoder, const Revision& revision) {
  std::vector<ComputeUnit> units;
  const Node* map = revision.document.find("compute");
  if (map)
    for (const Member& member : map->members) units.push_back(read_unit(decoder, member, revision));
  const bool computes = std::any_of(units.begin(), units.end(), [](const ComputeUnit& u) { return !u.peak.empty(); });
  if (!computes && decoder.errors.empty())
    decoder.error(map ? map->at : revision.document.at, "the chip computes nothing",
                  "state a `peak:` or `flops_per_cycle:` for at least one unit under `compute:`");
  return units;
}

}  // namespace gambrel::hw
