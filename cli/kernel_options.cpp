#include "cli/kernel_options.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "base/text.hpp"

namespace gambrel::cli {
namespace {

constexpr std::size_t largest_csv = 512u << 20;

Result<hw::Chip> load_chip(const Session& session, const std::string& name, const Position& from) {
  return session.catalog().load("chips", name, from).and_then([](const Node& document) -> Result<hw::Chip> {
    if (Diagnostics problems = validate(document, "chip"); !problems.empty()) return fail(problems);
    return hw::read_chip(document);
  });
}

std::string known_name(const Session& session, const std::string& name) {
  if (session.catalog().has("chips", name) || name.find('/') != std::string::npos) return name;
  const std::string meant = chip_of_device(session, name);
  return meant.empty() ? name : meant;
}

Result<sim::KernelKind> kind_for(const CsvTable& table, const std::string& op) {
  if (!op.empty()) {
    if (const auto kind = sim::parse_kernel_kind(op)) return *kind;
    return fail(Diagnostic{{}, fmt::format("'{}' is no kind of kernel", op), "gemm, attention_prefill, attention_decode, mla_prefill, mla_decode, moe, elementwise, softmax, layernorm, gelu, collective, moe_dispatch or moe_combine", Fault::usage});
  }
  if (const auto kind = sim::kind_of(table)) return *kind;
  return fail(Diagnostic{{table.source, 1, 1}, "the columns do not tell the kind of kernel", "give --op"});
}

}  // namespace

Result<CsvTable> load_csv(const std::string& file) {
  if (file != "-") return read_text(file, largest_csv).and_then([&](std::string text) { return parse_csv(std::move(text), file); });
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  return parse_csv(std::move(text), "standard input");
}

std::string chip_of_device(const Session& session, const std::string& device) {
  for (const std::string& name : session.catalog().names("chips")) {
    if (name == device) return name;
    const auto document = session.catalog().load("chips", name);
    if (!document) continue;
    const Node* aliases = document->find("aliases");
    if (!aliases) continue;
    for (const Node& alias : aliases->items)
      if (alias.text == device) return name;
  }
  return "";
}

Result<KernelChip> load_kernel_chip(const Session& session, const std::string& name, const Position& from) {
  auto chip = load_chip(session, known_name(session, name), from);
  if (!chip) return fail(chip.error());
  auto book = sim::CalibrationBook::load(session.catalog(), *chip);
  if (!book) return fail(book.error());
  return KernelChip{std::move(*chip), std::move(*book)};
}

Result<hw::System> load_system(const Session& session, const std::string& name) {
  const auto document = session.catalog().load("systems", name, {});
  if (!document) return fail(document.error());
  if (Diagnostics problems = validate(*document, "system"); !problems.empty()) return fail(problems);
  std::vector<Node> documents;
  for (const hw::ChipReference& reference : hw::chips_of(*document)) {
    auto chip = session.catalog().load("chips", reference.chip, reference.at);
    if (!chip) return fail(chip.error());
    if (Diagnostics problems = validate(*chip, "chip"); !problems.empty()) return fail(problems);
    documents.push_back(std::move(*chip));
  }
  std::vector<hw::ChipDocuments> chips;
  for (const Node& chip : documents) chips.push_back({&chip, &chip});
  return hw::read_system(*document, chips);
}

namespace {

/// Which rows ran on as many threads as a processor has cores. Of another chip `threads` says nothing, but its rows have to
/// agree in it.
class ThreadCheck {
 public:
  ThreadCheck(const CsvTable& table, const hw::Chip& chip) : table_(table), column_(table.column("threads")) {
    if (chip.kind == hw::ChipKind::cpu) cores_ = chip.hierarchy.empty() ? 1 : chip.members(chip.hierarchy.back().level);
  }

  /// Errors: a cell that is no number of threads; of no processor, one that differs from those before it.
  Result<bool> holds(const CsvRow& row) {
    if (!column_ || row.cells[*column_].empty()) return true;
    const std::string& cell = row.cells[*column_];
    double threads = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), threads);
    if (error != std::errc{} || end != cell.data() + cell.size() || !(threads >= 1) || threads != std::floor(threads))
      return fail(Diagnostic{table_.at(row, *column_), fmt::format("threads '{}' is not a whole number of at least 1", excerpt(cell)), "on how many threads the kernel ran"});
    if (!first_) first_ = &row, first_threads_ = threads;
    if (cores_ == 0 && threads != first_threads_)
      return fail(Diagnostic{table_.at(row, *column_), fmt::format("the row ran on {} threads, the first one (line {}) on {}", threads, first_->line, first_threads_), "one file for each number of threads"});
    const bool is_held = cores_ == 0 || threads == cores_;
    if (!is_held) ++left_out_, differing_ = &row;
    return is_held;
  }

  std::size_t left_out() const { return left_out_; }
  double cores() const { return cores_; }
  /// That of all rows of the chip not one ran on as many threads as it has cores.
  Diagnostic none(const std::string& chip) const {
    return {table_.at(*differing_, *column_), fmt::format("no row ran on {} thread{}, as many as {} has cores: this one ran on {}", cores_, cores_ == 1 ? "" : "s", chip, differing_->cells[*column_]),
            "measure on so many threads (--threads), or give a chip with as many cores as were used (hierarchy, count)"};
  }

 private:
  const CsvTable& table_;
  std::optional<std::size_t> column_;
  double cores_ = 0;  ///< 0: of no processor
  const CsvRow *first_ = nullptr, *differing_ = nullptr;
  double first_threads_ = 0;
  std::size_t left_out_ = 0;
};

/// Reads rows of one kind, those of one chip.
class MeasuredReader {
 public:
  MeasuredReader(const Session& session, const CsvTable& table, std::string file, const hw::Chip& chip) : session_(session), table_(table), chip_(chip.id), threads_(table, chip) {
    file_ = std::filesystem::path(file).filename().string();
    hash_ = fmt::format("{:016x}", XXH3_64bits(table.source->text.data(), table.source->text.size()));
  }

  Result<MeasuredRows> read(sim::KernelKind kind, const std::vector<const CsvRow*>& wanted) {
    const auto reader = sim::RowReader::make(table_, kind);
    if (!reader) return fail(reader.error());
    const auto measured = table_.column("measured_us"), device = table_.column("device");
    if (!measured) return fail(Diagnostic{{table_.source, 1, 1}, "there is no column 'measured_us'", "measured times in microseconds"});
    MeasuredRows rows{.kind = kind, .elsewhere = table_.rows.size() - wanted.size(), .file = file_, .hash = hash_};
    for (const CsvRow* row : wanted) {
      if (device && !is_here(row->cells[*device])) {
        ++rows.elsewhere;
        continue;
      }
      const auto held = threads_.holds(*row);
      if (!held) return fail(held.error());
      if (!*held) continue;
      auto call = reader->read(*row);
      if (!call) return fail(call.error());
      const auto seconds = time_of(*row, row->cells[*measured]);
      if (!seconds) return fail(seconds.error());
      rows.calls.push_back(std::move(*call));
      rows.seconds.push_back(*seconds);
      rows.keys.push_back(reader->key(*row));
    }
    return rows;
  }

  const ThreadCheck& threads() const { return threads_; }

 private:
  bool is_here(const std::string& device) {
    for (const auto& [seen, here] : known_)
      if (seen == device) return here;
    known_.emplace_back(device, chip_of_device(session_, device) == chip_ || device == chip_);
    return known_.back().second;
  }

  Result<double> time_of(const CsvRow& row, const std::string& cell) const {
    double us = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), us);
    if (error == std::errc{} && end == cell.data() + cell.size() && us >= 1e-6 && us <= 1e12) return us * 1e-6;
    return fail(Diagnostic{table_.at(row), fmt::format("measured_us '{}' is not a positive number", excerpt(cell)), "a time in microseconds"});
  }

  const Session& session_;
  const CsvTable& table_;
  std::string chip_, file_, hash_;
  ThreadCheck threads_;
  std::vector<std::pair<std::string, bool>> known_;  // device -> is it this chip
};

/// The kinds to read with their rows: those that the column `op` names, or all rows as one kind.
Result<std::vector<sim::KindRows>> kinds_of(const Session& session, const CsvTable& table, const std::string& op) {
  auto mixed = sim::rows_by_kind(table);
  if (mixed && op.empty()) {
    if (const std::string skipped = sim::describe_uncovered(*mixed); !skipped.empty()) session.say(fmt::format("{}: {}", table.source->name, skipped));
    return std::move(mixed->kinds);
  }
  const auto kind = kind_for(table, op);
  if (!kind) return fail(kind.error());
  sim::KindRows all{*kind, {}};
  for (const CsvRow& row : table.rows) all.rows.push_back(&row);
  if (!mixed) return std::vector{std::move(all)};
  // An operator that names no kind may be one of the kind that was asked for, unless others name it.
  for (sim::KindRows& named : mixed->kinds) {
    if (named.kind == *kind) return std::vector{std::move(named)};
    std::erase_if(all.rows, [&](const CsvRow* row) { return std::ranges::find(named.rows, row) != named.rows.end(); });
  }
  return std::vector{std::move(all)};
}

}  // namespace

Result<std::vector<MeasuredRows>> load_measured(const Session& session, const std::string& file, const std::string& op, const hw::Chip& chip) {
  const auto table = load_csv(file);
  if (!table) return fail(table.error());
  const auto kinds = kinds_of(session, *table, op);
  if (!kinds) return fail(kinds.error());
  MeasuredReader reader(session, *table, file, chip);
  std::vector<MeasuredRows> all;
  for (const sim::KindRows& kind : *kinds) {
    auto rows = reader.read(kind.kind, kind.rows);
    if (!rows) return fail(std::move(rows.error()));
    if (!rows->calls.empty()) all.push_back(std::move(*rows));
  }
  const ThreadCheck& threads = reader.threads();
  if (!all.empty() && threads.left_out() > 0) session.say(fmt::format("{}: {} rows are left out, for they ran on another number of threads than {} has cores, {}", table->source->name, threads.left_out(), chip.id, threads.cores()));
  if (!all.empty()) return all;
  if (threads.left_out() > 0) return fail(threads.none(chip.id));
  const std::string what = kinds->size() == 1 ? std::string(sim::to_string(kinds->front().kind)) : "any kind";
  return fail(Diagnostic{{table->source, 1, 1}, fmt::format("no row is of {} on {}", what, chip.id), "look at the columns device and op; a chip's `aliases:` name its devices"});
}

std::string score_line(std::string_view name, const sim::Score& s) {
  const auto percent = [](double share) { return fmt::format("{:.1f} %", 100 * share); };
  return fmt::format("  {:<22} {:>6} rows  mean {:>7}  median {:>7}  P90 {:>7}  bias {:>+6.1f} %\n", name, s.rows, percent(s.mean), percent(s.median), percent(s.p90), 100 * s.bias);
}

Result<sim::Split> parse_split(const std::string& text) {
  if (const auto split = sim::parse_split(text)) return *split;
  return fail(Diagnostic{{}, fmt::format("'{}' is no split", text), "write hash:K/N with K < N, as in hash:0/2", Fault::usage});
}

}  // namespace gambrel::cli
