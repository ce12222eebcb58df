#include "sim/sweep/chip_table.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "base/path.hpp"
#include "base/schema.hpp"
#include "hw/system.hpp"
#include "sim/sweep/inputs.hpp"

namespace gambrel::sim {
namespace {

constexpr std::size_t largest_group = 20'000;  ///< entries
constexpr int combinations_tried = 24;
constexpr std::size_t values_tried = 100;      ///< of an axis, before its table is made

/// Reads the chip of one machine again and again, its documents loaded once.
class ChipReader {
 public:
  static std::optional<ChipReader> open(const SweepParts& parts, std::size_t workload, std::span<const std::uint32_t> coordinates) {
    auto run = set_run(parts.file.run, parts.settings_at(workload, coordinates));
    if (!run) return std::nullopt;
    auto machine = machine_documents(parts.catalog, run->document, run->settings);
    if (!machine || machine->chips.size() != 1) return std::nullopt;
    const Node* key = run->document.find("hypothetical");
    return ChipReader(parts, workload, std::move(*machine), key && key->boolean);
  }

  bool hypothetical() const { return hypothetical_; }

  std::optional<hw::Chip> at(std::span<const std::uint32_t> coordinates) const {
    Node chip = machine_.chips.front();
    std::vector<Setting> settings = parts_->settings_at(workload_, coordinates);
    if (const Node* set = parts_->file.run.find("set")) {
      std::vector<Setting> all;
      for (const Member& m : set->members) all.push_back({m.key, m.value.text, m.key_at});
      settings.insert(settings.begin(), all.begin(), all.end());
    }
    for (const Setting& s : settings)
      if (s.path.starts_with("chip.") && !set_path(chip, std::string_view(s.path).substr(5), s.value, s.from)) return std::nullopt;
    return read(chip);
  }
  /// As its file states it.
  std::optional<hw::Chip> stated() const { return read(machine_.chips.front()); }

 private:
  ChipReader(const SweepParts& parts, std::size_t workload, MachineDocuments machine, bool hypothetical)
      : parts_(&parts), workload_(workload), machine_(std::move(machine)), hypothetical_(hypothetical) {}

  std::optional<hw::Chip> read(const Node& chip) const {
    if (!validate(chip, "chip").empty()) return std::nullopt;
    const Node& before = machine_.chips.front();
    std::optional<hw::Chip> result;
    if (machine_.system.is_null()) {
      if (auto one = hw::read_chip(chip, before)) result = std::move(*one);
    } else if (auto system = hw::read_system(machine_.system, {{&chip, &before}}); system && system->pools.size() == 1) {
      result = std::move(system->pools.front().chip);
    }
    if (result && parts_->technology) hw::fill_energy(*result, *parts_->technology);
    return result;
  }

  const SweepParts* parts_;
  std::size_t workload_;
  MachineDocuments machine_;
  bool hypothetical_;
};

/// A price can depend on capex, lifetime, electricity and power in ways that single changes do not show.
bool priced(const SweepAxis& axis) {
  return std::ranges::any_of(axis.paths, [](const std::string& path) { return path.starts_with("chip.price") || path.starts_with("chip.power"); });
}

class TableMaker {
 public:
  TableMaker(const SweepParts& parts, ChipReader reader, std::vector<std::uint32_t> first) : parts_(parts), reader_(std::move(reader)), first_(std::move(first)) {}

  std::shared_ptr<const ChipTable> make(const std::vector<std::size_t>& axes) {
    const auto chip = reader_.at(first_);
    if (!chip) return nullptr;
    table_.base = numbers_of(*chip);
    table_.structure = structure_of(*chip);
    parts_of_number_ = parts_of(*chip);
    for (std::size_t axis : axes)
      if (!find_changes(axis)) return nullptr;
    merge_groups();
    if (!fill_all()) return nullptr;
    if (!holds(axes)) {  // they depend on each other in a way that single changes did not show
      table_.groups = {ChipGroup{.axes = axes, .numbers = {}, .values = {}, .readable = {}}};
      for (std::size_t i = 0; i < table_.base.size(); ++i) table_.groups[0].numbers.push_back(i);
      if (!fill_all()) return nullptr;
    }
    if (reader_.hypothetical()) {
      const auto stated = reader_.stated();
      if (!stated || !parts_.technology || stated->process.value <= 0) return nullptr;
      table_.costs.emplace(*stated, *parts_.technology);
    }
    return std::make_shared<const ChipTable>(std::move(table_));
  }

 private:
  /// Numbers that an axis changes while the others stand at their first values.
  bool find_changes(std::size_t axis) {
    std::vector<bool> changed(table_.base.size());
    std::vector<std::uint32_t> at = first_;
    auto& known = single_[axis];
    for (std::uint32_t v = 0; v < parts_.file.axes[axis].size(); ++v) {
      at[axis] = v;
      const auto chip = reader_.at(at);
      if (chip && structure_of(*chip) != table_.structure) return false;
      known.push_back(chip ? numbers_of(*chip) : std::vector<double>{});  // such designs are read by themselves
      for (std::size_t i = 0; i < known.back().size(); ++i) changed[i] = changed[i] || known.back()[i] != table_.base[i];
    }
    ChipGroup group{.axes = {axis}, .numbers = {}, .values = {}, .readable = {}};
    for (std::size_t i = 0; i < changed.size(); ++i)
      if (changed[i]) group.numbers.push_back(i);
    table_.groups.push_back(std::move(group));
    return true;
  }

  bool belong_together(const ChipGroup& a, const ChipGroup& b) const {
    const auto of_price = [&](const ChipGroup& g) { return std::ranges::any_of(g.axes, [&](std::size_t axis) { return priced(parts_.file.axes[axis]); }); };
    if (of_price(a) && of_price(b)) return true;
    return std::ranges::any_of(a.numbers, [&](std::size_t i) { return std::ranges::count(b.numbers, i) > 0; });
  }

  void merge_groups() {
    auto& groups = table_.groups;
    for (std::size_t i = 0; i < groups.size(); ++i)
      for (std::size_t j = i + 1; j < groups.size();) {
        if (!belong_together(groups[i], groups[j])) {
          ++j;
          continue;
        }
        groups[i].axes.insert(groups[i].axes.end(), groups[j].axes.begin(), groups[j].axes.end());
        for (std::size_t n : groups[j].numbers)
          if (!std::ranges::count(groups[i].numbers, n)) groups[i].numbers.push_back(n);
        groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(j));
        j = i + 1;  // what has joined may overlap others
      }
  }

  bool fill_all() { return std::ranges::all_of(table_.groups, [&](ChipGroup& group) { return fill(group); }); }

  bool fill(ChipGroup& group) {
    std::size_t entries = 1;
    for (std::size_t axis : group.axes) entries *= parts_.file.axes[axis].size();
    if (entries > largest_group) return false;
    std::vector<std::uint32_t> at = first_;
    for (std::size_t e = 0; e < entries; ++e) {
      std::size_t rest = e;
      for (std::size_t a = group.axes.size(); a-- > 0;) {
        at[group.axes[a]] = static_cast<std::uint32_t>(rest % parts_.file.axes[group.axes[a]].size());
        rest /= parts_.file.axes[group.axes[a]].size();
      }
      const auto numbers = numbers_at(group, e, at);
      if (!numbers) return false;
      group.readable.push_back(!numbers->empty());
      for (std::size_t n : group.numbers) group.values.push_back(numbers->empty() ? std::numeric_limits<double>::quiet_NaN() : (*numbers)[n]);
    }
    group.compute = std::ranges::any_of(group.numbers, [&](std::size_t n) { return parts_of_number_[n] == ChipPart::compute; });
    return true;
  }

  /// A chip's numbers; empty if it cannot be read, nothing if its structure is another.
  std::optional<std::vector<double>> numbers_at(const ChipGroup& group, std::size_t entry, std::span<const std::uint32_t> at) const {
    if (group.axes.size() == 1) return single_.at(group.axes.front())[entry];
    const auto chip = reader_.at(at);
    if (!chip) return std::vector<double>{};
    if (structure_of(*chip) != table_.structure) return std::nullopt;
    return numbers_of(*chip);
  }

  /// Whether patches alone give what reading gives, for some combinations.
  bool holds(const std::vector<std::size_t>& axes) const {
    std::vector<std::uint32_t> at = first_;
    std::uint64_t seed = 12345;
    for (int i = 0; i < combinations_tried; ++i) {
      for (std::size_t axis : axes) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const auto last = static_cast<std::uint32_t>(parts_.file.axes[axis].size() - 1);
        at[axis] = i == 0 ? last : static_cast<std::uint32_t>((seed >> 33) % (last + 1));
      }
      const auto chip = reader_.at(at);
      if (chip ? patched(at) != numbers_of(*chip) : all_readable(at)) return false;
    }
    return true;
  }
  std::vector<double> patched(std::span<const std::uint32_t> at) const {
    std::vector<double> numbers = table_.base;
    for (const ChipGroup& group : table_.groups)
      for (std::size_t i = 0; i < group.numbers.size(); ++i) numbers[group.numbers[i]] = group.values[group.entry(parts_.file.axes, at) * group.numbers.size() + i];
    return numbers;
  }
  bool all_readable(std::span<const std::uint32_t> at) const {
    return std::ranges::all_of(table_.groups, [&](const ChipGroup& group) { return group.readable[group.entry(parts_.file.axes, at)]; });
  }

  const SweepParts& parts_;
  ChipReader reader_;
  std::vector<std::uint32_t> first_;
  std::vector<ChipPart> parts_of_number_;
  std::map<std::size_t, std::vector<std::vector<double>>> single_;  ///< by axis and value, the others at their first
  ChipTable table_;
};

}  // namespace

bool is_numeric(const SweepParts& parts, std::size_t axis, std::span<const std::uint32_t> coordinates) {
  const auto reader = ChipReader::open(parts, 0, coordinates);
  if (!reader || parts.file.axes[axis].size() > largest_group) return false;
  std::vector<std::uint32_t> at(coordinates.begin(), coordinates.end());
  std::string structure;
  const auto stride = static_cast<std::uint32_t>(parts.file.axes[axis].size() / values_tried + 1);
  for (std::uint32_t v = 0; v < parts.file.axes[axis].size(); v += stride) {
    at[axis] = v;
    const auto chip = reader->at(at);
    if (!chip) continue;
    if (!structure.empty() && structure_of(*chip) != structure) return false;
    structure = structure_of(*chip);
  }
  return !structure.empty();
}

std::shared_ptr<const ChipTable> make_chip_table(const SweepParts& parts, std::size_t workload, const std::vector<std::size_t>& chip_axes, std::span<const std::uint32_t> coordinates) {
  std::vector<std::uint32_t> first(coordinates.begin(), coordinates.end());
  for (std::size_t axis : chip_axes) first[axis] = 0;
  auto reader = ChipReader::open(parts, workload, first);
  if (!reader) return nullptr;
  return TableMaker(parts, std::move(*reader), std::move(first)).make(chip_axes);
}

}  // namespace gambrel::sim
