// What the tests of processors' kernel models share: a made-up chip, and calls of every kind.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/load.hpp"
#include "models/single_op.hpp"
#include "sim/calibration/kernel_predictor.hpp"
#include "sim/kernel_models/kernel_models.hpp"
#include "tests/unit/calibration_support.hpp"

namespace gambrel::test {

inline constexpr const char* cpu_text =
    "chip: made-up-cpu\nkind: cpu\nhierarchy: [{level: core, count: 1}]\n"
    "compute: {simd: {kind: vector, per: core, peak: {fp32: 100 GFLOP/s, fp64: 50 GFLOP/s, bf16: 200 GFLOP/s, int8: 400 GOP/s}}}\n"
    "memory:\n"
    "  - {level: DRAM, capacity: 16 GB, bandwidth: 20 GB/s}\n"
    "  - {level: L3, capacity: 16 MiB, bandwidth: 70 GB/s, managed: cache}\n"
    "  - {level: L2, per: core, capacity: 1 MiB, bandwidth: 100 GB/s, managed: cache}\n"
    "  - {level: L1, per: core, capacity: 32 KiB, bandwidth: 200 GB/s, managed: cache}\n";

inline hw::Chip made_up_cpu() {
  const auto document = parse_yaml(cpu_text, "made-up-cpu.yaml");
  REQUIRE(document.has_value());
  auto chip = hw::read_chip(*document);
  REQUIRE_MESSAGE(chip.has_value(), complaints(chip ? Diagnostics{} : chip.error()));
  return *chip;
}

inline std::vector<double> usual_values(const sim::KernelModel& model) {
  std::vector<double> values;
  for (const sim::Constant& c : model.constants) values.push_back(c.usual);
  return values;
}

inline sim::KernelCall cpu_gemm(double m, double n, double k, Format format = Format::fp32) {
  sim::KernelCall call{.kind = sim::KernelKind::gemm, .op = models::single_gemm(m, n, k, format, format, format), .activations = format, .stored = format};
  return call;
}

inline double usual_seconds(const sim::KernelCall& call, const hw::Chip& chip) {
  const sim::KernelModel& model = sim::model_of(call.kind, sim::ModelSet::processor);
  return model.predict(call, sim::chip_figures(chip), usual_values(model));
}

}  // namespace gambrel::test
