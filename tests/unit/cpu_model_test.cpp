// Kernel models of processors: which model and constants a call uses, where its operands come from, what packing costs.
#include "cpu_support.hpp"

#include <fmt/format.h>

#include "sim/kernel_models/cpu_caches.hpp"
#include "sim/kernel_models/product_loops.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

constexpr CacheConstants plain{1, 1, 8, 1, 1, 1, 1};

/// Constants of a model with some of them set.
std::vector<double> with(const KernelModel& model, std::initializer_list<std::pair<std::string_view, double>> set) {
  std::vector<double> values = usual_values(model);
  for (const auto& [name, value] : set)
    for (std::size_t i = 0; i < values.size(); ++i)
      if (model.constants[i].name == name) values[i] = value;
  return values;
}

}  // namespace

TEST_CASE("cpu models: the chip's kind picks them") {
  const KernelPredictor cpu(made_up_cpu(), {});
  CHECK(&cpu.model(KernelKind::gemm) == &cpu_gemm_model);
  CHECK(&cpu.model(KernelKind::collective) == &collective_model);
  CHECK(&KernelPredictor(shipped_chip("h100-sxm"), {}).model(KernelKind::gemm) == &gemm_model);
  for (int kind = 0; kind < kernel_kind_count; ++kind)
    CHECK(model_of(static_cast<KernelKind>(kind), ModelSet::processor).kind == static_cast<KernelKind>(kind));
}

TEST_CASE("cpu models: usual values lie within their ranges") {
  for (int kind = 0; kind < kernel_kind_count; ++kind)
    for (const Constant& c : model_of(static_cast<KernelKind>(kind), ModelSet::processor).constants)
      CHECK_MESSAGE((c.low <= c.usual && c.usual <= c.high), c.name);
}

TEST_CASE("cpu models: the figures of a chip hold its caches, innermost first") {
  const ChipFigures figures = chip_figures(made_up_cpu());
  CHECK(figures.caches[0].capacity == 32 * 1024);
  CHECK(figures.caches[2].capacity == 16 * 1024 * 1024);
  CHECK(figures.caches[2].bandwidth == 70e9);
  CHECK(figures.caches[3].bandwidth == 0);
}

TEST_CASE("cpu models: a byte costs what the level that holds it gives") {
  const ChipFigures figures = chip_figures(made_up_cpu());
  CHECK(seconds_per_byte(1e3, figures, plain) == doctest::Approx(1 / 200e9).epsilon(1e-3));
  CHECK(seconds_per_byte(2e5, figures, plain) == doctest::Approx(1 / 100e9).epsilon(1e-3));
  CHECK(seconds_per_byte(4e6, figures, plain) == doctest::Approx(1 / 70e9).epsilon(1e-2));
  CHECK(seconds_per_byte(1e9, figures, plain) == doctest::Approx(1 / 20e9).epsilon(1e-3));
  ChipFigures bare = figures;
  bare.caches = {};
  CHECK(seconds_per_byte(1e4, bare, plain) == doctest::Approx(1 / 20e9));
}

TEST_CASE("cpu models: weights that a model touches between two calls come from main memory, activations do not") {
  KernelCall call = cpu_gemm(1, 512, 512);
  const double alone = movement_seconds(call, chip_figures(made_up_cpu()), plain);
  call.between = 1e9;
  const double inside = movement_seconds(call, chip_figures(made_up_cpu()), plain);
  CHECK(inside == doctest::Approx(alone + 512 * 512 * 4.0 * (1 / 20e9 - seconds_per_byte(call.op.work.bytes(), chip_figures(made_up_cpu()), plain))).epsilon(1e-3));
}

TEST_CASE("cpu models: OpenBLAS packs what is large, and one row never") {
  const ChipFigures figures = chip_figures(made_up_cpu());
  const auto slow = with(cpu_gemm_model, {{"pack_efficiency", 0.01}, {"loops", 2}}), fast = with(cpu_gemm_model, {{"pack_efficiency", 2}, {"loops", 2}});
  const auto packing = [&](double m, double n, double k) {
    return cpu_gemm_model.predict(cpu_gemm(m, n, k), figures, slow) - cpu_gemm_model.predict(cpu_gemm(m, n, k), figures, fast);
  };
  CHECK(packing(1, 1024, 1024) == doctest::Approx(0));
  CHECK(packing(16, 16, 512) == doctest::Approx(0));
  CHECK(packing(16, 16, 16) > 0);  // small, but not deep
  // x and W once at a hundredth of the first cache's bandwidth.
  CHECK(packing(64, 1024, 1040) == doctest::Approx(4.0 * (64 * 1040 + 1024 * 1040) / 2e9).epsilon(0.02));
  // Rows of W that lie 4 KiB apart share a set of the first cache, and take twice as long by the usual value.
  CHECK(packing(64, 1024, 1024) == doctest::Approx(4.0 * (64 * 1024 + 2 * 1024 * 1024) / 2e9).epsilon(0.02));
}

TEST_CASE("cpu models: passes over panels cover every product once, and each panel has one that comes first") {
  for (const double m : {1.0, 5.0, 7.0, 256.0, 300.0, 1111.0})
    for (const double n : {1.0, 15.0, 16.0, 64.0, 100.0, 4096.0 + 17}) {
      const ProductLoops panels = product_loops(true, m, n, 512, 4), packed = product_loops(false, m, n, 512, 4);
      double sums = 0, first = 0, rows = 0;
      for (const Sweep& s : panels) {
        sums += s.rows * s.vectors * s.count, first += s.first;
        CHECK(s.first <= s.count);
        CHECK(s.rows * s.vectors <= 28);
      }
      CHECK(sums == m * std::ceil(n / 16));
      const double tail = n - 64 * std::floor(n / 64);
      CHECK(first == panels.row_blocks * (std::floor(n / 64) + (tail >= 16 ? 1 : 0) + (std::fmod(tail, 16) > 0 ? 1 : 0)));
      for (const Sweep& s : packed)
        if (!s.narrow) rows += s.rows * s.count;
      CHECK(rows == m * std::floor(n / 16));
    }
  // 23 columns are 16 + 4 + 2 + 1; 431 rows are 17 times 24, 20, 2 and 1.
  const ProductLoops odd = product_loops(false, 431, 23, 512, 4);
  CHECK(odd.size == 8);
  CHECK(odd.begin()->count == 17);
}

TEST_CASE("cpu models: rows that fill no block of sums cost more each, and weights far away cost a first pass") {
  const ChipFigures figures = chip_figures(made_up_cpu());
  const auto values = usual_values(cpu_gemm_model);
  const auto a_row = [&](double m) { return cpu_gemm_model.predict(cpu_gemm(m, 1024, 256), figures, values) / m; };
  CHECK(a_row(7) > a_row(12));
  CHECK(a_row(1) > 1.5 * a_row(6));
  const auto waiting = [&](double m) {
    KernelCall call = cpu_gemm(m, 512, 512);
    const double near = cpu_gemm_model.predict(call, figures, values);
    call.between = 1e9;
    return cpu_gemm_model.predict(call, figures, values) - near;
  };
  CHECK(waiting(1) > 0);
  CHECK(waiting(192) == doctest::Approx(waiting(6)).epsilon(0.2));  // by the first rows only
}

TEST_CASE("cpu models: one or two rows wait longer for weights from main memory, and from nowhere else") {
  const auto ratio = [](double rows, double between) {
    KernelCall call = cpu_gemm(rows, 1024, 1024);
    call.between = between;
    const ChipFigures figures = chip_figures(made_up_cpu());
    return cpu_gemm_model.predict(call, figures, with(cpu_gemm_model, {{"few_rows", 1.5}})) / cpu_gemm_model.predict(call, figures, with(cpu_gemm_model, {{"few_rows", 1}}));
  };
  for (const double rows : {1.0, 2.0}) CHECK(ratio(rows, 1e9) > 1.3);
  CHECK(ratio(3, 1e9) == 1);
  CHECK(ratio(1, 0) == doctest::Approx(1).epsilon(0.01));  // 4 MiB, from the last cache
}

TEST_CASE("cpu models: a row that the first cache does not hold is read again from the next") {
  const auto ratio = [](double columns) {
    const auto rows = calls_of(fmt::format("bytes_read,bytes_written,tokens,hidden,op\n{0},{0},{1},{2},layer_norm\n", 4 * 65536, 65536 / columns, columns), KernelKind::elementwise);
    const ChipFigures figures = chip_figures(made_up_cpu());
    return cpu_elementwise_model.predict(rows[0], figures, with(cpu_elementwise_model, {{"passes", 1}, {"row_s", 1e-11}, {"byte_flops", 0.001}})) /
           cpu_elementwise_model.predict(rows[0], figures, with(cpu_elementwise_model, {{"passes", 0.01}, {"row_s", 1e-11}, {"byte_flops", 0.001}}));
  };
  CHECK(ratio(512) == doctest::Approx(1).epsilon(0.02));
  CHECK(ratio(16384) > 1.5);  // 128 KiB of it and its result
}

TEST_CASE("cpu models: packed weights are not copied, plain ones anew for each block of rows") {
  const ChipFigures figures = chip_figures(made_up_cpu());
  const auto copying = [&](double loops, double m) {
    const auto slow = with(cpu_gemm_model, {{"pack_efficiency", 0.01}, {"loops", loops}}), fast = with(cpu_gemm_model, {{"pack_efficiency", 0.02}, {"loops", loops}});
    return cpu_gemm_model.predict(cpu_gemm(m, 1024, 1024), figures, slow) - cpu_gemm_model.predict(cpu_gemm(m, 1024, 1024), figures, fast);
  };
  CHECK(copying(0, 512) == doctest::Approx(0));
  CHECK(copying(1, 512) == doctest::Approx(2 * copying(1, 256)).epsilon(0.01));
  CHECK(copying(2, 512) == doctest::Approx(copying(2, 256)).epsilon(0.3));
}

TEST_CASE("cpu models: a version is looked up whole, and left out it is the first one listed") {
  Calibration calibration{.chip = "made-up-cpu", .fits = {}, .sustained = {}};
  calibration.models = ModelSet::processor;
  for (const char* type : {"fp32/first", "fp32/second", "bf16/first"}) calibration.fits.push_back({.kernel = KernelKind::gemm, .type = type, .values = usual_values(cpu_gemm_model)});
  CHECK(calibration.find(KernelKind::gemm, "fp32/second")->type == "fp32/second");
  CHECK(calibration.find(KernelKind::gemm, "fp32")->type == "fp32/first");
  CHECK(calibration.find(KernelKind::gemm, "bf16")->type == "bf16/first");
  CHECK(calibration.find(KernelKind::gemm, "fp3") == nullptr);
  CHECK(calibration.find(KernelKind::moe, "fp32") == nullptr);
}

TEST_CASE("cpu models: a calibration says whose constants it holds, and is read back so") {
  Calibration calibration{.chip = "made-up-cpu", .fits = {}, .sustained = {}};
  calibration.models = ModelSet::processor;
  calibration.fits.push_back({.kernel = KernelKind::gemm, .type = "fp32/onednn_packed", .values = usual_values(cpu_gemm_model)});
  const Node node = to_node(calibration);
  CHECK(node.text_or("models", "") == "processor");
  const auto read = read_calibration(node);
  REQUIRE(read.has_value());
  CHECK(read->models == ModelSet::processor);
  CHECK(read->fits.front().values == calibration.fits.front().values);
}

TEST_CASE("cpu rows: version and weights' format are the type; operators keep their table's names") {
  const auto calls = calls_of("dtype,weight_dtype,version,m,n,k\nfp32,int4,own_gemv,1,64,128\nfp32,fp32,,4,64,128\n", KernelKind::gemm);
  CHECK(processor_type(calls[0], {}) == "fp32-int4/own_gemv");
  CHECK(processor_type(calls[1], {}) == "fp32");
  const auto rows = calls_of("bytes_read,bytes_written,tokens,hidden,op,working_set_bytes\n4096,4096,4,256,rotary,0\n4096,4096,4,256,embedding,1000000\n", KernelKind::elementwise);
  CHECK(cpu_elementwise_model.type_of(rows[0], {}) == "rotary");
  CHECK(rows[1].op.work.bytes(models::Role::weight) == rows[0].op.work.read_bytes[static_cast<std::size_t>(models::Role::activation)]);
  CHECK(rows[1].between == 1e6);
  const auto products = calls_of("dtype,m,n,k,working_set_bytes\nfp32,1,64,128,5e8\n", KernelKind::gemm);
  CHECK(products[0].between == 5e8);
  CHECK(calls[0].between == 0);
}
