// A suite's measurements, a row a kernel.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "reports/check.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {

using kernels::Measurement;

Grid grid_of(const std::vector<Measurement>& measurements) {
  double longest = 0;
  for (const Measurement& m : measurements) longest = std::max(longest, median_seconds(m));
  const TimeUnit unit = time_unit(longest);
  Grid grid;
  grid.headings = {{"kernel", false}, {fmt::format("time {}", unit.name)}, {"GFLOP/s"}, {"GB/s"}, {"efficiency"}, {"of", false}, {"clean"}};
  for (const Measurement& m : measurements) {
    const double seconds = median_seconds(m);
    // Without an anchor it was measured elsewhere, and each row there is a result.
    const bool measured = std::ssize(m.clean) >= (m.anchor.empty() ? 1 : kernels::least_clean);
    const auto rate = [&](double work) { return measured && work > 0 ? fixed(1e-9 * work / seconds, 1) : std::string("-"); };
    grid.rows.push_back({display_name(m.name, 110), measured ? fixed(seconds / unit.seconds, 3) : "-", rate(m.flops), rate(m.bytes), !measured ? "not measurable" : has_reference(m) ? percent(efficiency_of(m)) : "-", has_reference(m) ? m.anchor : "",
                         fmt::format("{}/{}", m.clean.size(), m.sampled)});
  }
  return grid;
}

std::string json(const std::vector<Measurement>& measurements, const kernels::Context& context) {
  Node root = kernels::to_node(measurements);
  root.set("context", kernels::to_node(context));
  for (std::size_t i = 0; i < measurements.size(); ++i) {
    Node& item = root.find("measurements")->items[i];
    item.set("median_time_s", number(median_seconds(measurements[i])));
    item.set("efficiency", has_reference(measurements[i]) ? number(efficiency_of(measurements[i])) : Node());
    item.set("measurable", Node::of(std::ssize(measurements[i].clean) >= kernels::least_clean));
  }
  return to_json(root) + "\n";
}

/// What a reader of the table has to know besides: that a device is a CPU, for one.
std::string footer(const std::vector<Measurement>& measurements, bool markdown) {
  const std::string libraries = libraries_of(measurements);
  return libraries.empty() ? "" : fmt::format("\nlibraries: {}\n", markdown ? escape_markdown(libraries) : libraries);
}

}  // namespace

std::string libraries_of(const std::vector<Measurement>& measurements) {
  std::vector<std::string> seen;
  for (const Measurement& m : measurements)
    if (!m.library.empty() && std::ranges::find(seen, m.library) == seen.end()) seen.push_back(m.library);
  return printable(fmt::format("{}", fmt::join(seen, "; ")));
}

std::string write_measurements(const std::vector<Measurement>& measurements, const kernels::Context& context, TextFormat format, const std::string& device) {
  switch (format) {
    case TextFormat::json: return json(measurements, context);
    case TextFormat::csv: return kernels::to_csv(measurements, device);
    case TextFormat::markdown: return markdown_grid(grid_of(measurements)) + footer(measurements, true);
    case TextFormat::table: break;
  }
  return terminal_grid(grid_of(measurements), false) + footer(measurements, false);
}

}  // namespace gambrel::reports
