// gambrel estimate-ops: times of single kernels, a row each.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.hpp"
#include "cli/kernel_options.hpp"
#include "cli/network_rows.hpp"
#include "cli/verbs.hpp"
#include "sim/kernel_models/systolic.hpp"

namespace gambrel::cli {
namespace {

std::string micro(double seconds) { return fmt::format("{:.6g}", seconds * 1e6); }

/// Rows of m,n,k,array_rows,array_cols,dataflow: cycles of a systolic array, no chip needed.
Result<std::string> systolic(const CsvTable& table) {
  static constexpr std::string_view sizes[] = {"m", "n", "k", "array_rows", "array_cols"};
  std::string out = csv_line(table.header) + ",cycles\n";
  for (const CsvRow& row : table.rows) {
    double value[5] = {};
    for (int i = 0; i < 5; ++i) {
      const auto column = table.column(sizes[i]);
      if (!column) return fail(Diagnostic{{table.source, 1, 1}, fmt::format("systolic needs a column '{}'", sizes[i]), "m, n, k, array_rows, array_cols, dataflow"});
      const std::string& cell = row.cells[*column];
      const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value[i]);
      if (error != std::errc{} || end != cell.data() + cell.size() || !(value[i] >= 1) || !(value[i] <= 1e12) || value[i] != std::floor(value[i]))
        return fail(Diagnostic{table.at(row), fmt::format("{} '{}' is not a positive number", sizes[i], excerpt(cell)), "sizes are whole numbers"});
    }
    const auto column = table.column("dataflow");
    const std::string flow = column ? row.cells[*column] : "ws";
    using enum hw::Dataflow;
    const bool os = flow == "os" || flow == "output_stationary", ws = flow == "ws" || flow == "weight_stationary", is = flow == "is" || flow == "input_stationary";
    if (!os && !ws && !is) return fail(Diagnostic{table.at(row), fmt::format("'{}' is no dataflow", excerpt(flow)), "os, ws or is"});
    const double cycles = sim::systolic_cycles(value[0], value[1], value[2], value[3], value[4], os ? output_stationary : ws ? weight_stationary : input_stationary);
    out += fmt::format("{},{:.0f}\n", csv_line(row.cells), cycles);
  }
  return out;
}

/// Predictors by the chip's name, made when a row first asks for one.
class Predictors {
 public:
  Predictors(const Session& session, std::vector<std::pair<std::string, double>> assume) : session_(session), assume_(std::move(assume)) {}

  /// `from`: where the chip was named.
  Result<const sim::KernelPredictor*> of(const std::string& name, const Position& from) {
    for (const auto& [known, predictor] : made_)
      if (known == name) return predictor.get();
    auto chip = load_kernel_chip(session_, name, from);
    if (!chip) return fail(chip.error());
    made_.emplace_back(name, std::make_unique<sim::KernelPredictor>(chip->chip, std::move(chip->book), assume_));
    return made_.back().second.get();
  }

 private:
  const Session& session_;
  std::vector<std::pair<std::string, double>> assume_;
  std::vector<std::pair<std::string, std::unique_ptr<sim::KernelPredictor>>> made_;
};

/// `chip`: one for all rows; "" = the one that each row's `device` names.
Result<std::string> predicted(const CsvTable& table, sim::KernelKind kind, const std::string& chip, Predictors& predictors) {
  const auto reader = sim::RowReader::make(table, kind);
  if (!reader) return fail(reader.error());
  const auto device = table.column("device");
  if (chip.empty() && !device) return fail(Diagnostic{{}, "no chip is named", "give --chip, or a column `device`", Fault::usage});
  std::string out = csv_line(table.header) + ",predicted_us,roofline_us,bound,provenance,predicted_lo_us,predicted_hi_us\n";
  for (const CsvRow& row : table.rows) {
    const auto predictor = chip.empty() ? predictors.of(row.cells[*device], table.at(row)) : predictors.of(chip, {});
    if (!predictor) return fail(predictor.error());
    const auto call = reader->read(row);
    if (!call) return fail(call.error());
    const sim::KernelPrediction p = (*predictor)->predict(*call);
    out += fmt::format("{},{},{},{},{},{},{}\n", csv_line(row.cells), micro(p.seconds), micro(p.roofline), p.bound, sim::to_string(p.provenance), micro(p.low), micro(p.high));
  }
  return out;
}

class EstimateOps final : public Verb {
 public:
  std::string_view name() const override { return "estimate-ops"; }
  std::string_view summary() const override { return "Times of single kernels: reads CSV rows, adds predicted_us, roofline_us, bound, provenance"; }

  void declare(Options& options) override {
    options.positional("rows", file_, "CSV file, - for standard input");
    options.positional("out", out_, "Where to write; standard output if left out or -", false);
    options.choice("--op", op_, {"gemm", "attention_prefill", "attention_decode", "mla_prefill", "mla_decode", "moe", "elementwise", "softmax", "layernorm", "gelu", "collective", "moe_dispatch", "moe_combine", "systolic"}, "Kind of kernel");
    options.option("--chip", chip_, "Chip: a name, a YAML, or a device name of a measurement file; the file's `device` column if left out");
    options.option("--system", system_, "System whose network collectives run on: a name or a YAML; columns algorithm and axes may force how");
    options.option("--assume", assume_, "Efficiency asserted for a kind of operator: gemm=0.85; can be repeated");
  }

  int run(const Session& session) override {
    const auto table = load_csv(file_);
    if (!table) return session.report(table.error());
    auto text = op_ == "systolic" ? systolic(*table) : system_.empty() ? kernels(session, *table) : collectives(session, *table);
    if (!text) return session.report(text.error());
    return out_.empty() || out_ == "-" ? session.print(*text) : session.write_file(out_, *text);
  }

 private:
  Result<std::string> collectives(const Session& session, const CsvTable& table) const {
    if (op_ != "collective") return fail(Diagnostic{{}, "--system is for --op collective", "other kernels run on one chip: --chip", Fault::usage});
    if (!chip_.empty()) return fail(Diagnostic{{}, "--chip and --system are both given", "the system names its chip", Fault::usage});
    const auto assume = parse_assume();
    if (!assume) return fail(assume.error());
    double efficiency = 0;
    for (const auto& [kind, value] : *assume) {
      if (kind != "collective") return fail(Diagnostic{{}, fmt::format("--assume {} is not of collectives", kind), "--assume collective=E", Fault::usage});
      efficiency = value;
    }
    return network_rows(session, table, system_, efficiency);
  }

  Result<std::string> kernels(const Session& session, const CsvTable& table) const {
    const auto kind = sim::parse_kernel_kind(op_);
    if (!kind) return fail(Diagnostic{{}, "--op is missing", "gemm, attention_prefill, ...: `gambrel estimate-ops --help`", Fault::usage});
    auto assume = parse_assume();
    if (!assume) return fail(assume.error());
    Predictors predictors(session, std::move(*assume));
    return predicted(table, *kind, chip_, predictors);
  }

  Result<std::vector<std::pair<std::string, double>>> parse_assume() const {
    std::vector<std::pair<std::string, double>> result;
    for (const std::string& text : assume_) {
      const auto equals = text.find('=');
      double value = 0;
      const bool read = equals != std::string::npos && std::from_chars(text.data() + equals + 1, text.data() + text.size(), value).ptr == text.data() + text.size();
      if (!read || !(value > 0) || value > 1) return fail(Diagnostic{{}, fmt::format("--assume '{}' is no efficiency", text), "write kind=E with 0 < E <= 1, as in gemm=0.85", Fault::usage});
      const std::string kind = text.substr(0, equals);
      if (!sim::parse_kernel_kind(kind) && !std::ranges::count(models::op_table(), kind, &models::OpRow::name))
        return fail(Diagnostic{{}, fmt::format("--assume '{}' is no kind of operator", excerpt(kind)), "what --op takes, or an operator's name: gemm, attention, expert_ffn", Fault::usage});
      result.emplace_back(kind, value);
    }
    return result;
  }

  std::string file_, out_, op_, chip_, system_;
  std::vector<std::string> assume_;
};

}  // namespace

std::unique_ptr<Verb> estimate_ops_verb() { return std::make_unique<EstimateOps>(); }

}  // namespace gambrel::cli
