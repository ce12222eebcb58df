// What a gate found and what a suite measured, for a terminal, a pull request and a browser.
#pragma once

#include <optional>
#include <string>

#include "kernels/timing/gate.hpp"
#include "reports/report.hpp"

namespace gambrel::reports {

/// github: workflow commands, which annotate a pull request, before the table.
enum class CheckFormat { table, json, github, markdown };
std::optional<CheckFormat> parse_check_format(std::string_view name);

/// JSON: {schema_version, exit_code, context, kernels: [{name, verdict, time_s, efficiency, baseline_efficiency, slowdown, limit, ...}],
/// missing: [names that had a baseline, and are no longer there]}.
/// Markdown: a row a kernel with its efficiency as a bar and its history as a small chart.
std::string write_check(const kernels::GateReport& report, CheckFormat format);

/// One offline file: the table, and each kernel's efficiency over its history as a plot.
std::string write_check_html(const kernels::GateReport& report);

/// One line: "12 kernels: 10 passed, 2 recorded".
std::string check_summary(const kernels::GateReport& report);

/// "oneDNN 2.6.3; OpenCL: NAME (CPU)": what the kernels run on and by, each once, in the order of first appearance; "" if
/// all are gambrel's own.
std::string libraries_of(const std::vector<kernels::Measurement>& measurements);

/// A suite's measurements: time, rates (both of the median clean sample), efficiency (by undisturbed times), clean samples. JSON is the
/// form that read_measurements takes, with each median time and efficiency and the context added; CSV is a measurement file of chip `device`.
std::string write_measurements(const std::vector<kernels::Measurement>& measurements, const kernels::Context& context, TextFormat format, const std::string& device);

}  // namespace gambrel::reports
