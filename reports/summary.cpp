#include "reports/summary.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace gambrel::reports {
namespace {

const std::string& first_set(const std::string& a, const std::string& b) { return a.empty() ? b : a; }

std::string dollars(double value) { return std::isfinite(value) ? fmt::format("{:.3g} USD", value) : "-"; }

std::string rate_text(double tokens_per_second) {
  return std::isfinite(tokens_per_second)
             ? fmt::format("{:.{}f} tokens/s", tokens_per_second, tokens_per_second < 100 ? 2 : 0)
             : "-";
}

std::string workload_of(const sim::Estimate& run) {
  for (const auto& [key, value] : run.settings)
    if (key == "workload") return value;
  return {};
}

/// With its lower bound, where the prediction is another one.
std::string time_text(const sim::Total& total) {
  const bool bare = total.roofline.value == 0 || total.time.value <= total.roofline.value * (1 + 1e-9);
  return bare ? spoken(total.time) : fmt::format("{}, {} by the plain roofline", spoken(total.time), spoken(total.roofline));
}

void add_serving(std::vector<Line>& lines, const sim::Serving& serving) {
  lines.emplace_back("first token", spoken(serving.ttft) + " (TTFT)");
  lines.emplace_back("each further", spoken(serving.tpot) + " (TPOT)");
  lines.emplace_back("latency", spoken(serving.latency) + " of a whole request");
  lines.emplace_back("output", rate_text(serving.output_tokens_per_second));
}

}  // namespace

std::string run_title(const sim::Estimate& run) {
  const std::string& chip = first_set(run.chip_name, run.chip);
  const std::string where =
      run.system.empty() || run.system == run.chip ? chip : fmt::format("{} ({})", run.system, chip);
  return fmt::format("{} on {}", first_set(run.model_name, run.model), where);
}

std::string parameters_text(const sim::Parameters& parameters) {
  return fmt::format("{} in total, {} active for a token", spoken_count(parameters.total),
                     spoken_count(parameters.active));
}

std::string memory_limit_text(const sim::MemoryUse& memory) {
  if (!memory.peak.empty()) return fmt::format("most is held by {}", memory.peak);  // training: the batch is given
  const std::string limit = memory.max_batch > 0
                                ? fmt::format("at most {} sequences at once", spoken_count(memory.max_batch))
                                : "not even one sequence would fit";
  const std::string token =
      memory.kv_per_token.value > 0 ? fmt::format("; a token's KV cache takes {}", spoken(memory.kv_per_token)) : "";
  return limit + token;
}

std::string memory_text(const sim::MemoryUse& memory) {
  return fmt::format("{}; {}", memory.fits ? "fits" : "DOES NOT FIT", memory_limit_text(memory));
}

std::string bound_text(const sim::Total& total) {
  return total.bound.empty() ? "-" : fmt::format("{}, {} of the time", total.bound, percent(total.bound_share));
}

std::optional<double> dollars_per_million_tokens(const sim::Total& total) {
  if (!total.cost || !(total.tokens > 0)) return std::nullopt;
  return total.cost->value / total.tokens * 1e6;
}

std::string cost_text(const sim::Total& total) {
  if (!total.cost) return "-";
  const auto per_million = dollars_per_million_tokens(total);
  return dollars(total.cost->value) +
         (per_million ? fmt::format(", {} per million tokens", dollars(*per_million)) : "");
}

std::optional<Joules> energy_per_token(const sim::Total& total) {
  if (!total.energy || !(total.tokens > 0)) return std::nullopt;
  return *total.energy / total.tokens;
}

std::string energy_text(const sim::Total& total) {
  if (!total.energy) return "-";
  std::string text = spoken(*total.energy);
  if (total.active_energy && total.energy->value > 0)
    text += fmt::format(": {} arithmetic, {} movement, {} idle", percent(total.active_energy->arithmetic / *total.energy),
                        percent(total.active_energy->movement / *total.energy), percent(total.idle_energy / *total.energy));
  const auto each = energy_per_token(total);
  return text + (each ? fmt::format("; {} per token", spoken(*each)) : "");
}

std::string power_text(const sim::Total& total) {
  if (!total.power) return "-";
  return spoken(*total.power) + " a chip" +
         (total.power_share > 0 ? fmt::format(", {} of its design power", percent(total.power_share)) : "");
}

std::vector<Line> total_lines(const sim::Estimate& run) {
  const sim::Total& total = run.total;
  std::vector<Line> lines{{"time", time_text(total)}};
  if (run.serving) add_serving(lines, *run.serving);
  lines.emplace_back("throughput", rate_text(total.tokens_per_second));
  lines.emplace_back("MFU, MBU", fmt::format("{}, {}", percent(total.mfu), percent(total.mbu)));
  lines.emplace_back("bound by", bound_text(total));
  if (total.energy) lines.emplace_back("energy", energy_text(total));
  if (total.power) lines.emplace_back("power", power_text(total));
  if (total.cost) lines.emplace_back("cost", cost_text(total));
  return lines;
}

std::string provenance_text(const sim::Estimate& run) {
  using sim::Provenance;
  std::string text;
  for (const Provenance p : {Provenance::measured, Provenance::calibrated, Provenance::transferred, Provenance::assumed,
                             Provenance::analytic}) {
    std::size_t count = 0;
    for (const Row& row : op_rows(run)) count += row.op->provenance == p ? 1 : 0;
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, to_string(p));
  }
  return text.empty() ? "no operator" : "operators: " + text;
}

Grid runs_grid(const std::vector<sim::Estimate>& runs) {
  Grid grid;
  grid.headings = {{"run", false}, {"workload", false}, {"time"},         {"tokens/s"}, {"MFU"},
                   {"MBU"},        {"FLOP/B"},          {"bound", false}, {"share"},    {"memory", false}};
  for (const auto& run : runs) {
    const sim::Total& t = run.total;
    grid.rows.push_back({display_name(run_title(run)), display_name(workload_of(run), 64), spoken(t.time),
                         fixed(t.tokens_per_second, 1), percent(t.mfu), percent(t.mbu), fixed(t.intensity.value, 1),
                         display_name(t.bound, 20), percent(t.bound_share), run.memory.fits ? "fits" : "does not fit"});
  }
  return grid;
}

}  // namespace gambrel::reports
