// A sweep file -> its space: values against the schemas, one design that works, expressions compiled.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "base/path.hpp"
#include "base/schema.hpp"
#include "base/text.hpp"
#include "sim/sweep/inputs.hpp"
#include "sim/sweep/run_space.hpp"
#include "sim/sweep/sweep_parts.hpp"

namespace gambrel::sim {
namespace {

constexpr std::size_t most_checked = 1000;       ///< values of an axis that are held against the schema
constexpr std::size_t most_inputs = 1'000'000;   ///< entries of an input's table
constexpr std::size_t designs_tried = 64;        ///< before the sweep is taken to hold none

std::vector<std::uint32_t> first_point(const SweepParts& parts) { return std::vector<std::uint32_t>(parts.file.axes.size(), 0); }

Result<Run> run_at(const SweepParts& parts, std::size_t workload, std::span<const std::uint32_t> coordinates) {
  return read_run(parts.catalog, parts.file.run, parts.settings_at(workload, coordinates));
}

/// A design that can be read: the first, or one of others spread over the space.
Result<std::vector<std::uint32_t>> working_point(const SweepParts& parts) {
  std::vector<std::uint32_t> point = first_point(parts);
  const auto first = run_at(parts, 0, point);
  if (first) return point;
  std::uint64_t seed = 1;
  for (std::size_t i = 0; i < designs_tried; ++i) {
    for (std::size_t a = 0; a < point.size(); ++a) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      point[a] = static_cast<std::uint32_t>((seed >> 33) % parts.file.axes[a].size());
    }
    if (run_at(parts, 0, point)) return point;
  }
  return fail(first.error());
}

/// The documents that a value is laid over, with the names of their schemas.
struct Checked {
  Node run, model;
  MachineDocuments machine;
};

Result<Checked> documents_at(const SweepParts& parts, std::span<const std::uint32_t> coordinates) {
  auto set = set_run(parts.file.run, parts.settings_at(0, coordinates));
  if (!set) return fail(set.error());
  auto model = load_model_document(parts.catalog, set->document.text_or("model", ""), set->document.at);
  if (!model) return fail(model.error());
  auto machine = machine_documents(parts.catalog, set->document, set->settings);
  if (!machine) return fail(machine.error());
  return Checked{std::move(set->document), std::move(*model), std::move(*machine)};
}

Result<void> check_value(const Checked& documents, const Setting& s) {
  const std::string_view path = s.path;
  const auto check = [&](const Node& document, std::size_t prefix, std::string_view schema) -> Result<void> {
    Node changed = document;
    if (auto set = set_path(changed, path.substr(prefix), s.value, s.from); !set) return set;
    Diagnostics problems = validate(changed, schema);
    std::erase_if(problems, [&](const Diagnostic& d) { return d.at.source != s.from.source || d.at.line != s.from.line || d.at.column != s.from.column; });
    if (!problems.empty()) return fail(problems);
    return {};
  };
  if (path.starts_with("chip.")) return check(documents.machine.chips.front(), 5, "chip");
  if (path.starts_with("system.")) return documents.machine.system.is_null() ? Result<void>{} : check(documents.machine.system, 7, "system");
  if (path.starts_with("model.")) return check(documents.model, 6, "model");
  return check(documents.run, 0, "run");
}

/// Of a value that no schema takes every design would be impossible: it is said at once, and where.
Result<void> check_values(const SweepParts& parts, std::span<const std::uint32_t> working) {
  const auto documents = documents_at(parts, working);
  if (!documents) return fail(documents.error());
  Diagnostics problems;
  for (std::size_t a = 0; a < parts.file.axes.size(); ++a) {
    const SweepAxis& axis = parts.file.axes[a];
    const std::size_t stride = axis.size() / most_checked + 1;
    for (std::size_t v = 0; v < axis.size(); v += stride)
      for (std::size_t p = 0; p < axis.paths.size(); ++p)
        if (auto checked = check_value(*documents, {axis.paths[p], axis.values[v][p], parts.file.values_at[a][v][p]}); !checked)
          problems.insert(problems.end(), checked.error().begin(), checked.error().end());
  }
  if (!problems.empty()) return fail(problems);
  return {};
}

/// Memory levels of all machines that the sweep names; one that cannot be read shows up as impossible designs later.
BoundNames bound_names(const SweepParts& parts, std::vector<std::uint32_t> point) {
  std::vector<std::string> names;
  const auto add = [&](const Run& run) {
    for (const hw::Pool& pool : run.system.pools)
      for (const auto* list : {&pool.chip.memory, &pool.chip.host_memory})
        for (const hw::MemoryLevel& level : *list) names.push_back(level.level);
  };
  if (const auto run = run_at(parts, 0, point)) add(*run);
  for (std::size_t a = 0; a < parts.file.axes.size(); ++a) {
    if (std::ranges::none_of(parts.file.axes[a].paths, [](const std::string& path) { return path == "system" || path == "system.chip"; })) continue;
    for (std::uint32_t v = 0; v < parts.file.axes[a].size(); ++v) {
      point[a] = v;
      if (const auto run = run_at(parts, 0, point)) add(*run);
    }
  }
  return BoundNames(std::move(names));
}

bool overlap(std::string_view a, std::string_view b) {
  const std::string_view shorter = a.size() < b.size() ? a : b, longer = a.size() < b.size() ? b : a;
  return longer.starts_with(shorter) && (longer.size() == shorter.size() || longer[shorter.size()] == '.');
}

/// An input of that name changes with an axis of the key itself, or with one that names another file.
bool depends(const SweepAxis& axis, std::string_view input) {
  return std::ranges::any_of(axis.paths, [&](const std::string& path) {
    if (overlap(path, input)) return true;
    if (input.starts_with("model.")) return path == "model";
    if (input.starts_with("system.")) return path == "system";
    return input.starts_with("chip.") && (path == "system" || path == "system.chip");
  });
}

/// Compiles the expressions of a sweep; names become indices of values as they come up.
class Compiler {
 public:
  Compiler(SweepParts& parts, std::vector<std::uint32_t> working) : parts_(parts), working_(std::move(working)) {}

  Result<void> compile() {
    for (const ExpressionText& text : parts_.file.derived) {
      if (known(text.name)) return fail({text.at, fmt::format("'{}' is a result already", text.name), "give the derived quantity another name"});
      auto expression = compile(text);
      if (!expression) return fail(expression.error());
      derived_.emplace_back(text.name, expression->dimension());
      parts_.columns.push_back({text.name, text.text, expression->dimension() == Dimension{} ? "" : unit_name(expression->dimension())});
      parts_.derived.push_back(std::move(*expression));
    }
    for (const ExpressionText& text : parts_.file.constraints) {
      auto expression = compile(text);
      if (!expression) return fail(expression.error());
      if (!expression->is_comparison()) return fail({text.at, fmt::format("'{}' compares nothing", excerpt(text.text)), "a constraint is a comparison: power < 700 W"});
      parts_.constraints.push_back(std::move(*expression));
    }
    return objectives();
  }

 private:
  Result<void> objectives() {
    for (const ObjectiveText& text : parts_.file.objectives) {
      const auto index = column(text.name);
      if (!index) return fail({text.at, fmt::format("'{}' is no result", excerpt(text.name)), hint(text.name)});
      parts_.objectives.push_back({parts_.columns[*index].name, *index, text.maximise});
    }
    return {};
  }

  std::optional<std::size_t> column(std::string_view name) const {
    const auto& rows = figure_rows();
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i].column == name || rows[i].name == name) return i;
    for (std::size_t i = 0; i < derived_.size(); ++i)
      if (derived_[i].first == name) return figure_count + i;
    return std::nullopt;
  }
  bool known(std::string_view name) const { return column(name).has_value(); }

  std::string hint(std::string_view name) const {
    std::vector<std::string> names;
    for (const FigureRow& row : figure_rows()) names.emplace_back(row.name), names.emplace_back(row.column);
    for (const auto& [derived, dimension] : derived_) names.push_back(derived);
    if (const std::string near = nearest(std::string(name), names); !near.empty()) return fmt::format("did you mean '{}'?", near);
    std::vector<std::string> results;
    for (const FigureRow& row : figure_rows()) results.emplace_back(row.name);
    return fmt::format("results are {}; inputs begin with chip., system., model., workload., plan.", fmt::join(results, ", "));
  }

  Result<Expression> compile(const ExpressionText& text) {
    at_ = text.at;
    Diagnostics inside;
    const SymbolFinder finder = [&](std::string_view name) -> tl::expected<Symbol, ExpressionError> {
      if (const auto index = column(name)) return Symbol{*index, *index < figure_count ? figure_rows()[*index].dimension : derived_[*index - figure_count].second};
      if (!is_input(name)) return tl::unexpected(ExpressionError{0, fmt::format("'{}' is neither a result nor an input", excerpt(name)), hint(name)});
      auto symbol = input(std::string(name));
      if (symbol) return *symbol;
      return tl::unexpected(ExpressionError{0, symbol.error().front().message, symbol.error().front().hint});
    };
    auto expression = Expression::compile(text.text, finder);
    if (expression) return std::move(*expression);
    return fail({place(text, expression.error().offset), expression.error().message, expression.error().hint});
  }

  /// The column inside the scalar, where the source shows the text itself.
  static Position place(const ExpressionText& text, std::size_t offset) {
    Position at = text.at;
    if (!at.source || at.line < 1) return at;
    std::string_view rest = at.source->text;
    for (int line = 1; line < at.line && rest.find('\n') != std::string_view::npos; ++line) rest.remove_prefix(rest.find('\n') + 1);
    rest = rest.substr(0, rest.find('\n'));
    const auto start = static_cast<std::size_t>(std::max(1, at.column) - 1);
    for (std::size_t quote : {std::size_t{0}, std::size_t{1}})
      if (start + quote < rest.size() && rest.substr(start + quote).starts_with(text.text)) at.column += static_cast<int>(quote + offset);
    return at;
  }

  /// Where a name stands among the values: after the figures and all derived quantities.
  Result<Symbol> input(const std::string& name) {
    if (const auto known = std::ranges::find(names_, name); known != names_.end()) {
      const auto i = static_cast<std::size_t>(known - names_.begin());
      return Symbol{first_input() + i, dimensions_[i]};
    }
    for (const WeightedWorkload& workload : parts_.file.workloads)
      for (const Setting& s : workload.settings)
        if (parts_.workload_count() > 1 && overlap(s.path, name.substr(0, name.find('.')))) return fail({at_, fmt::format("'{}' may differ between the workloads", name), "name what all workloads share"});
    InputTable table;
    std::size_t entries = 1;
    for (std::size_t a = 0; a < parts_.file.axes.size(); ++a)
      if (depends(parts_.file.axes[a], name)) table.axes.push_back(a), entries *= parts_.file.axes[a].size();
    if (entries > most_inputs) return fail({at_, fmt::format("'{}' has more than {} values in this sweep", name, most_inputs), "fewer values on its axes"});
    std::optional<Dimension> dimension;
    std::vector<std::uint32_t> point = working_;
    for (std::size_t i = 0; i < entries; ++i) {
      std::size_t rest = i;
      for (std::size_t a = table.axes.size(); a-- > 0;) {
        const std::size_t size = parts_.file.axes[table.axes[a]].size();
        point[table.axes[a]] = static_cast<std::uint32_t>(rest % size);
        rest /= size;
      }
      auto value = input_value(parts_.catalog, parts_.file.run, parts_.settings_at(0, point), name, at_);
      if (!value) return fail(value.error());
      if (dimension && *dimension != value->dimension) return fail({at_, fmt::format("'{}' has different units in different designs", name), ""});
      dimension = value->dimension;
      table.values.push_back(value->value);
    }
    names_.push_back(name);
    dimensions_.push_back(*dimension);
    parts_.inputs.push_back(std::move(table));
    return Symbol{first_input() + names_.size() - 1, *dimension};
  }
  std::size_t first_input() const { return figure_count + parts_.file.derived.size(); }

  SweepParts& parts_;
  std::vector<std::uint32_t> working_;
  Position at_;
  std::vector<std::pair<std::string, Dimension>> derived_;
  std::vector<std::string> names_;
  std::vector<Dimension> dimensions_;
};

/// Axes that change the most come first, else as the file has them: then the least is to be done between neighbours.
void order_axes(SweepParts& parts, std::vector<std::uint32_t>& point) {
  const std::vector<AxisRole> roles = axis_roles(parts, point);
  std::vector<std::size_t> order(roles.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t a) { return roles[a]; });
  const SweepFile before = parts.file;
  const std::vector<std::uint32_t> at = point;
  for (std::size_t i = 0; i < order.size(); ++i) {
    parts.file.axes[i] = before.axes[order[i]];
    parts.file.values_at[i] = before.values_at[order[i]];
    point[i] = at[order[i]];
    parts.roles.push_back(roles[order[i]]);
    auto& numbers = parts.numbers.emplace_back();
    if (parts.roles.back() != AxisRole::workload) continue;
    for (const auto& texts : parts.file.axes[i].values)
      for (const std::string& text : texts) numbers.push_back(decimal_value(text).value_or(-1));
  }
}

}  // namespace

Result<std::unique_ptr<RunSpace>> RunSpace::open(const Catalog& catalog, SweepFile file) {
  auto parts = std::make_shared<SweepParts>(catalog, std::move(file));
  for (const WeightedWorkload& workload : parts->file.workloads) parts->weights.push_back(workload.weight);
  if (parts->weights.empty()) parts->weights = {1};
  auto technology = hw::load_technology(catalog);
  if (!technology) return fail(technology.error());
  parts->technology = std::move(*technology);
  auto working = working_point(*parts);
  if (!working) return fail(working.error());
  order_axes(*parts, *working);
  if (auto checked = check_values(*parts, *working); !checked) return fail(checked.error());
  parts->bounds = bound_names(*parts, *working);
  for (const FigureRow& row : figure_rows()) {
    const bool bound = row.figure == Figure::bound;
    parts->columns.push_back({std::string(row.column), bound ? fmt::format("{}: {}", row.label, parts->bounds.legend()) : std::string(row.label), std::string(row.unit)});
  }
  if (auto compiled = Compiler(*parts, *working).compile(); !compiled) return fail(compiled.error());
  std::unique_ptr<RunSpace> space(new RunSpace(std::move(parts)));
  if (auto prepared = space->prepare_canonical(); !prepared) return fail(prepared.error());
  return space;
}

}  // namespace gambrel::sim
