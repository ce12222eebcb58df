#include "cli/check_sources.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <regex>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "cli/kernel_options.hpp"
#include "cli/suite_options.hpp"
#include "sim/kernel_predictor.hpp"

namespace gambrel::cli {
namespace {

using kernels::Measurement;

constexpr std::size_t largest_file = 512u << 20;

/// Rows as calls of a kind: FLOPs and bytes from the operator table, the anchor is the chip's roofline.
Result<void> hold_against_chip(const Session& session, const CsvTable& table, const std::string& op, const std::string& chip_name, std::vector<Measurement>& measurements) {
  const auto chip = load_kernel_chip(session, chip_name);
  if (!chip) return fail(chip.error());
  const auto kind = op.empty() ? sim::kind_of(table) : sim::parse_kernel_kind(op);
  if (!kind) return fail(Diagnostic{{table.source, 1, 1}, op.empty() ? "the columns do not tell the kind of kernel" : fmt::format("'{}' is no kind of kernel", op), "give --op, as of estimate-ops", Fault::usage});
  const auto reader = sim::RowReader::make(table, *kind);
  if (!reader) return fail(reader.error());
  const sim::KernelPredictor predictor(chip->chip, chip->book);
  std::map<std::string, Measurement*> index;
  for (Measurement& one : measurements) index.emplace(one.name, &one);
  for (const CsvRow& row : table.rows) {
    // The same reading of one row finds its measurement by name.
    const auto one = kernels::from_csv(csv_line(table.header) + "\n" + csv_line(row.cells) + "\n", table.source->name);
    const auto call = reader->read(row);
    if (!call) return fail(call.error());
    if (!one || !index.contains(one->front().name)) continue;
    Measurement& m = *index.at(one->front().name);
    m.flops = call->op.work.flops, m.bytes = call->op.work.bytes();
    m.memory = predictor.predict(*call).bound != "compute";
    m.anchor = "roofline of " + chip->chip.id;
    // The anchor does the kernel's own work, in the time that the roofline says: efficiency = roofline / time.
    m.anchor_work = m.memory ? m.bytes : m.flops;
    for (kernels::Round& round : m.clean) round.anchor_seconds = predictor.roofline(*call);
  }
  return {};
}

bool is_json(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != text.npos && text[first] == '{';
}

bool is_gambrel(const std::string& program) {
  if (access(program.c_str(), X_OK) != 0) return false;
  const auto version = kernels::run({{program, "--version"}, {}});
  return version && version->code == 0 && version->out.starts_with("gambrel ");
}

Result<void> take_minima(const Node& file, kernels::GateOptions& options) {
  const Node* minima = file.find("min_efficiency");
  if (!minima) return {};
  for (const Member& minimum : minima->members) {
    try {
      const std::regex compiled(minimum.key);
    } catch (const std::regex_error&) {
      return fail(Diagnostic{minimum.key_at, fmt::format("'{}' is no regular expression", minimum.key), "as in '^gemm/f32' (ECMAScript)"});
    }
    options.minimum.emplace_back(minimum.key, minimum.value.number);
  }
  return {};
}

}  // namespace

Result<std::vector<Measurement>> fed_measurements(const Session& session, const std::string& file, const std::string& op, const std::string& chip) {
  auto text = read_text(file, largest_file);
  if (!text) return fail(std::move(text.error()));
  const bool json = is_json(*text);
  auto measurements = json ? kernels::from_benchmark_json(*text, file) : kernels::from_csv(*text, file);
  if (!measurements) return measurements;
  if (!chip.empty() && json) return fail(Diagnostic{{}, "--chip is for CSV files with the columns of estimate-ops", "benchmarks in JSON state their flops and bytes, and are held against this machine", Fault::usage});
  if (!chip.empty()) {
    const auto table = parse_csv(*text, file);
    if (auto held = hold_against_chip(session, *table, op, chip, *measurements); !held) return fail(std::move(held.error()));
    return measurements;
  }
  const auto speeds = kernels::CommandAnchors().now();
  for (Measurement& one : *measurements)
    if (one.flops > 0 || one.bytes > 0) kernels::anchor(one, speeds);
  return measurements;
}

kernels::Measure build_or_command(const std::string& side, const std::vector<std::string>& check_arguments) {
  if (!is_gambrel(side)) return kernels::by_command(side, 1);
  kernels::Command command{{side, "check"}, {}};
  command.arguments.insert(command.arguments.end(), check_arguments.begin(), check_arguments.end());
  return kernels::in_fresh_process(std::move(command));
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
