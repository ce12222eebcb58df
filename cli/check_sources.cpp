#include "cli/check_sources.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "cli/kernel_options.hpp"
#include "kernels/timing/csv_rows.hpp"
#include "kernels/timing/names.hpp"
#include "sim/calibration/kernel_predictor.hpp"

namespace gambrel::cli {
namespace {

using kernels::Measurement;

constexpr std::size_t largest_file = 512u << 20;

/// What kind of kernel each row is of, as far as that can be told.
class RowKinds {
 public:
  static Result<RowKinds> make(const CsvTable& table, const std::string& op) {
    const auto wanted = sim::parse_kernel_kind(op);
    if (!op.empty() && !wanted) return fail(Diagnostic{{table.source, 1, 1}, fmt::format("'{}' is no kind of kernel", op), "give --op, as of estimate-ops", Fault::usage});
    RowKinds kinds(table);
    const auto mixed = wanted ? std::nullopt : sim::rows_by_kind(table);
    kinds.of_row_.assign(table.rows.size(), wanted ? wanted : mixed ? std::nullopt : sim::kind_of(table));
    if (!mixed) return kinds;
    for (const sim::KindRows& some : mixed->kinds)
      for (const CsvRow* row : some.rows) kinds.of_row_[kinds.index(*row)] = some.kind;
    kinds.skipped_ = describe_uncovered(*mixed);
    return kinds;
  }

  std::optional<sim::KernelKind> of(const CsvRow& row) const { return of_row_[index(row)]; }
  bool any() const { return std::ranges::any_of(of_row_, [](const auto& kind) { return kind.has_value(); }); }
  const std::string& skipped() const { return skipped_; }

  /// A row's own columns, so that a date or a note beside them makes no other kernel of it.
  kernels::RowKind row_kind(const CsvRow& row) const {
    const auto kind = of(row);
    const auto column = table_->column("op");
    const std::string op = column ? row.cells[*column] : "";
    if (!kind) return {op.empty() ? "kernel" : op, {}};
    kernels::RowKind own{std::string(to_string(*kind)), {}};
    for (const auto& alternatives : sim::columns_of(*kind).columns) own.columns.insert(own.columns.end(), alternatives.begin(), alternatives.end());
    if (!op.empty() && std::ranges::find(own.columns, "op") != own.columns.end()) own.kernel = op;
    return own;
  }

 private:
  explicit RowKinds(const CsvTable& table) : table_(&table) {}
  std::size_t index(const CsvRow& row) const { return static_cast<std::size_t>(&row - table_->rows.data()); }

  const CsvTable* table_;
  std::vector<std::optional<sim::KernelKind>> of_row_;
  std::string skipped_;
};

/// FLOPs and bytes from the operator table; the anchor is the chip's roofline, which does the kernel's own work in the time
/// that the roofline says: efficiency = roofline / time. Rows of no kind are left out.
Result<void> hold_against_chip(const Session& session, const CsvTable& table, const RowKinds& kinds, const std::string& chip_name, kernels::FedRows& fed) {
  const auto chip = load_kernel_chip(session, chip_name);
  if (!chip) return fail(chip.error());
  if (!kinds.any()) return fail(Diagnostic{{table.source, 1, 1}, "the columns do not tell the kind of kernel", "give --op, as of estimate-ops", Fault::usage});
  const sim::KernelPredictor predictor(chip->chip, chip->book);
  std::map<sim::KernelKind, sim::RowReader> readers;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto kind = kinds.of(table.rows[i]);
    if (!kind) continue;
    if (!readers.contains(*kind)) {
      auto reader = sim::RowReader::make(table, *kind);
      if (!reader) return fail(std::move(reader.error()));
      readers.emplace(*kind, std::move(*reader));
    }
    const auto call = readers.at(*kind).read(table.rows[i]);
    if (!call) return fail(call.error());
    Measurement& m = fed.measurements[fed.of_row[i]];
    m.flops = call->op.work.flops, m.bytes = call->op.work.bytes();
    m.memory = predictor.predict(*call).bound != "compute";
    m.anchor = "roofline of " + chip->chip.id;
    m.anchor_work = m.memory ? m.bytes : m.flops;
    for (kernels::Round& round : m.clean) round.anchor_seconds = predictor.roofline(*call);
  }
  if (!kinds.skipped().empty()) session.say(kinds.skipped());
  std::erase_if(fed.measurements, [](const Measurement& m) { return m.anchor.empty(); });
  return {};
}

Result<std::vector<Measurement>> fed_rows(const Session& session, const std::string& text, const std::string& file, const std::string& op, const std::string& chip) {
  const auto table = parse_csv(text, file);
  if (!table) return fail(table.error());
  const auto kinds = RowKinds::make(*table, op);
  if (!kinds) return fail(kinds.error());
  auto fed = kernels::read_rows(*table, [&](const CsvRow& row) { return kinds->row_kind(row); });
  if (!fed) return fail(std::move(fed.error()));
  if (!chip.empty())
    if (auto held = hold_against_chip(session, *table, *kinds, chip, *fed); !held) return fail(std::move(held.error()));
  return std::move(fed->measurements);
}

/// What of a file's origin decides: the chip. This host only read it.
kernels::Context context_of(const std::string& file, const std::string& chip) {
  kernels::Context context = kernels::this_context();
  std::erase_if(context, &kernels::Fact::decides);
  context.insert(context.begin(), {{"device", chip}, {"file", file, false}});
  return context;
}

bool is_json(const std::string& text, const std::string& file) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != text.npos ? text[first] == '{' : file.ends_with(".json");
}

bool is_program(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

bool is_script(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return file.get() == '#' && file.get() == '!';
}

/// Whether it measures for a gate: asked for a kernel that nobody has, it answers with an empty list.
bool is_worker(kernels::Command program, double timeout_s) {
  program.timeout_s = timeout_s;
  return kernels::in_fresh_process(std::move(program))({"(none)"}).has_value();
}

bool is_gambrel(kernels::Command program) {
  program.arguments.emplace_back("--version");
  program.environment.emplace_back("GAMBREL_GATE_WORKER", "/dev/null");  // a gate of one's own is to do nothing
  const auto version = kernels::run(program);
  return version && version->code == 0 && version->out.starts_with("gambrel ");
}

Result<void> take_minima(const Node& file, kernels::GateOptions& options) {
  const Node* minima = file.find("min_efficiency");
  if (!minima) return {};
  for (const Member& minimum : minima->members) {
    if (auto compiled = kernels::name_expression(minimum.key); !compiled) {
      Diagnostic problem = std::move(compiled.error().front());
      problem.at = minimum.key_at, problem.fault = Fault::input;
      return fail(std::move(problem));
    }
    options.minimum.emplace_back(minimum.key, minimum.value.number);
  }
  return {};
}

}  // namespace

Result<Fed> fed_measurements(const Session& session, const std::string& file, const std::string& op, const std::string& chip) {
  auto text = read_text(file, largest_file);
  if (!text) return fail(std::move(text.error()));
  const bool json = is_json(*text, file);
  if (json && !(chip.empty() && op.empty()))
    return fail(Diagnostic{{}, "--chip and --op are for CSV files with the columns of estimate-ops", "benchmarks in JSON hold times only; --command measures them beside a reference", Fault::usage});
  auto measurements = json ? kernels::from_benchmark_json(std::move(*text), file) : fed_rows(session, *text, file, op, chip);
  if (!measurements) return fail(std::move(measurements.error()));
  return Fed{std::move(*measurements), context_of(file, chip)};
}

Side build_or_command(const kernels::BenchmarkCommand& command, const std::vector<std::string>& check_arguments) {
  if (is_program(command.line)) {
    const kernels::Command program{.arguments = {std::filesystem::absolute(command.line).lexically_normal().string()}, .environment = {}, .stop = command.stop};
    kernels::Command check = program;
    check.arguments.emplace_back("check");
    check.arguments.insert(check.arguments.end(), check_arguments.begin(), check_arguments.end());
    const bool script = is_script(command.line);
    // A gate of one's own may take other arguments. A gambrel that does not answer has said why, and will say so again.
    if (is_worker(check, command.timeout_s) || (!script && is_gambrel(program))) return {kernels::in_fresh_process(std::move(check)), false};
    if (!script && is_worker(program, command.timeout_s)) return {kernels::in_fresh_process(program), false};
  }
  kernels::BenchmarkCommand line = command;
  if (is_program(line.line) && line.line.find('/') == line.line.npos) line.line = "./" + line.line;  // where a shell does not look
  return {kernels::by_command(line), true};
}

Result<void> MinimaCheck::add(const std::vector<Measurement>& all) {
  if (missing_ == 0) return {};
  for (const Measurement& m : all) names_.push_back(m.name);
  return --missing_ > 0 ? Result<void>{} : kernels::check_minima(minima_, names_);
}

kernels::Measure checked(kernels::Measure measure, std::shared_ptr<MinimaCheck> check) {
  return [measure = std::move(measure), check = std::move(check)](const std::vector<std::string>& names) -> Result<std::vector<Measurement>> {
    auto found = measure(names);
    if (!found) return found;
    if (auto fits = check->add(*found); !fits) return fail(std::move(fits.error()));
    return found;
  };
}

kernels::Measure only(kernels::Measure measure, const std::string& filter, bool needed) {
  if (filter.empty()) return measure;
  return [measure = std::move(measure), filter, needed](const std::vector<std::string>& names) -> Result<std::vector<Measurement>> {
    const auto expression = kernels::name_expression(filter);
    if (!expression) return fail(expression.error());
    auto found = measure(names);
    if (!found) return found;
    std::vector<std::string> all;
    for (const Measurement& m : *found) all.push_back(m.name);
    std::erase_if(*found, [&](const Measurement& m) { return !std::regex_search(m.name, *expression); });
    if (found->empty() && needed) return fail(Diagnostic{{}, fmt::format("no kernel's name contains '{}'", filter), kernels::hint_for(filter, all), Fault::usage});
    return found;
  };
}

Result<kernels::Context> given_facts(const std::vector<std::string>& facts) {
  std::map<std::string, std::string> sorted;
  for (const std::string& fact : facts) {
    const std::size_t equals = fact.find('=');
    if (equals == 0 || equals == fact.npos) return fail(Diagnostic{{}, fmt::format("--context '{}' is no KEY=VALUE", fact), "as in --context compiler=gcc-13", Fault::usage});
    if (!sorted.emplace(fact.substr(0, equals), fact.substr(equals + 1)).second)
      return fail(Diagnostic{{}, fmt::format("--context: '{}' is there twice", fact.substr(0, equals)), "each key once", Fault::usage});
  }
  kernels::Context context;
  for (const auto& [key, value] : sorted) context.push_back({"context." + key, value});
  return context;
}

Result<void> read_check_file(const std::string& file, kernels::GateOptions& options) {
  const auto document = load_file(file);
  if (!document) return fail(document.error());
  if (Diagnostics problems = validate(*document, "check"); !problems.empty()) return fail(std::move(problems));
  if (const Node* limits = document->find("limits")) {
    options.limits.compute = limits->number_or("compute", options.limits.compute);
    options.limits.memory = limits->number_or("memory", options.limits.memory);
    options.limits.drift = limits->number_or("drift", options.limits.drift);
    options.limits.history = static_cast<int>(limits->number_or("history", options.limits.history));
  }
  return take_minima(*document, options);
}

}  // namespace gambrel::cli
