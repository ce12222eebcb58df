// A gate for kernels of one's own: two functions with their FLOPs and bytes, compared with a baseline file.
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <vector>

#include "kernels/timing/gate.hpp"
#include "reports/check.hpp"

namespace {

using namespace gambrel;

/// y = a x + y: 2 FLOPs and 12 bytes an element.
void saxpy(float a, const std::vector<float>& x, std::vector<float>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += a * x[i];
}

/// A polynomial of degree 15 by Horner's rule: 30 FLOPs and 8 bytes an element.
void polynomial(const std::vector<float>& x, std::vector<float>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    float sum = 1;
    for (int power = 0; power < 15; ++power) sum = sum * x[i] + 0.5f;
    y[i] = sum;
  }
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::size_t n = 1 << 16;
  std::vector<float> x(n, 0.5f), y(n, 0.25f);

  kernels::Gate gate;
  gate.add("saxpy", 2.0 * n, 12.0 * n, kernels::Anchor::triad, [&] { saxpy(1e-6f, x, y); });
  gate.add("polynomial", 30.0 * n, 8.0 * n, kernels::Anchor::fma_f32, [&] { polynomial(x, y); });

  kernels::GateOptions options;
  options.database = argc > 1 ? argv[1] : "own-kernel.sqlite";
  options.progress = [](const std::string& line) { std::cerr << line << "\n"; };
  // options.minimum = {{"^polynomial", 0.10}};  // at least a tenth of what the FMA units can do

  const auto report = gate.run(options);
  if (!report) {
    std::cerr << render(report.error());
    return 4;
  }
  if (report->worker) return 0;  // started by the gate itself, in a process of its own, only to measure
  const bool in_workflow = std::getenv("GITHUB_ACTIONS") != nullptr;
  std::cout << reports::write_check(*report, in_workflow ? reports::CheckFormat::github : reports::CheckFormat::table);
  return report->exit_code();  // 0 passed or recorded, 1 slower, 5 not measurable
}
