// The models of elementwise operators, softmax, norms and activations: against an independent implementation of the same
// formulas (Python, in which they were found; tests/golden/vector_*.csv), and what they must do.
#include <doctest/doctest.h>

#include <cmath>

#include "golden_rows.hpp"
#include "sim/calibration/kernel_rows.hpp"

namespace gambrel::sim {
namespace {

using models::Dim;
using models::OpKind;

const KernelModel& model_named(const std::string& name) {
  const std::map<std::string, const KernelModel*> names{{"elementwise", &elementwise_model}, {"softmax", &softmax_model}, {"layernorm", &layernorm_model}, {"gelu", &gelu_model}};
  return *names.at(name.substr(0, name.find('.')));
}

OpKind kind_named(const std::string& name) {
  const std::map<std::string, OpKind> kinds{{"elementwise", OpKind::elementwise}, {"rotary", OpKind::rotary}, {"embedding", OpKind::embedding}, {"rms_norm", OpKind::rms_norm},
                                            {"activation", OpKind::activation}, {"gelu", OpKind::activation}, {"softmax", OpKind::softmax}, {"layernorm", OpKind::layer_norm}};
  return kinds.at(name);
}

KernelCall elementwise_call(OpKind kind, double rows, double width, double bytes_read) {
  KernelCall call{.kind = KernelKind::elementwise, .op = models::single_elementwise(bytes_read, 2 * rows * width, Format::fp16)};
  call.op.kind = kind;
  call.op.dims[Dim::m] = rows;
  call.op.dims[Dim::n] = width;
  return call;
}

KernelCall vector_call(const KernelModel& model, double rows, double width, DataType type = Format::fp16) {
  const OpKind kind = model.kind == KernelKind::softmax ? OpKind::softmax : model.kind == KernelKind::layernorm ? OpKind::layer_norm : OpKind::activation;
  return {.kind = model.kind, .op = models::single_vector(kind, rows, width, 5, type), .activations = type};
}

TEST_CASE("vector: equal to the independent implementation") {
  const auto sets = golden_sets("vector_constants.csv", model_named);
  const CsvTable table = golden_table("vector_model.csv");
  CHECK(table.rows.size() >= 200);
  for (const CsvRow& cells : table.rows) {
    const GoldenCells row{table, cells};
    ChipFigures chip = chip_with(1e15, 0);
    chip.bandwidth = row.number("bandwidth");
    chip.cache = row.number("cache");
    const KernelModel& model = model_named(row.text("constants"));
    const DataType type = row.number("element_bytes") == 4 ? Format::fp32 : Format::fp16;
    const bool plain = model.kind == KernelKind::elementwise;
    const KernelCall call = plain ? elementwise_call(kind_named(row.text("op")), row.number("rows"), row.number("width"), row.number("bytes_read"))
                                  : vector_call(model, row.number("rows"), row.number("width"), type);
    const double seconds = model.predict(call, chip, sets.at(row.text("constants")));
    CHECK_MESSAGE(row.is_close(seconds, "seconds"), "line " << cells.line << ": " << seconds << " for " << row.text("seconds"));
  }
}

TEST_CASE("vector: large tensors move at the bandwidth times the efficiency, small ones take a launch") {
  const ChipFigures chip = chip_with(1e15, 0);
  for (const KernelModel* model : {&layernorm_model, &gelu_model}) {
    auto values = usual_values(*model);
    REQUIRE(set(*model, values, "hbm_efficiency", 0.5));
    const KernelCall large = vector_call(*model, 1 << 20, 8192);
    CHECK(model->predict(large, chip, values) == doctest::Approx(large.op.work.bytes() / (0.5 * chip.bandwidth)).epsilon(0.02));
    REQUIRE(set(*model, values, "launch_s", 4e-5));
    CHECK(model->predict(vector_call(*model, 1, 64), chip, values) == doctest::Approx(4e-5).epsilon(0.02));
  }
}

TEST_CASE("vector: without the host's timer the kernel stays") {
  const ChipFigures chip = chip_with(1e15, 0);
  for (const KernelModel* model : {&softmax_model, &layernorm_model, &gelu_model}) {
    auto values = usual_values(*model);
    const KernelCall small = vector_call(*model, 16, 128);
    CHECK(model->predict(small, chip, values) > 3e-5);
    REQUIRE(set(*model, values, "launch_s", 0));
    CHECK(model->predict(small, chip, values) > 0);
    CHECK(model->predict(small, chip, values) < 1e-6);
  }
}

TEST_CASE("vector: one row is walked serially, many rows side by side") {
  const ChipFigures chip = chip_with(1e15, 0);
  auto values = usual_values(softmax_model);
  REQUIRE(set(softmax_model, values, "launch_s", 0));
  REQUIRE(set(softmax_model, values, "element_s", 1e-9));
  const double one = softmax_model.predict(vector_call(softmax_model, 1, 100000), chip, values);
  CHECK(one == doctest::Approx(1e-4).epsilon(0.01));
  CHECK(softmax_model.predict(vector_call(softmax_model, 100, 100000), chip, values) < 1.5 * one);
}

TEST_CASE("elementwise: each kind of operator has its own share of the bandwidth") {
  const ChipFigures chip = chip_with(1e15, 0);
  const auto values = usual_values(elementwise_model);
  const auto seconds = [&](OpKind kind) { return elementwise_model.predict(elementwise_call(kind, 1 << 18, 4096, 2.0 * (1 << 18) * 4096), chip, values); };
  CHECK(seconds(OpKind::elementwise) < seconds(OpKind::activation));
  CHECK(seconds(OpKind::activation) < seconds(OpKind::rotary));
  CHECK(seconds(OpKind::rotary) < seconds(OpKind::rms_norm));
  CHECK(seconds(OpKind::rms_norm) < seconds(OpKind::embedding));
  CHECK(seconds(OpKind::rms_norm) == seconds(OpKind::layer_norm));
}

TEST_CASE("elementwise: what the cache keeps comes faster, but no prediction beats the roofline") {
  ChipFigures chip = chip_with(1e15, 0);
  auto values = usual_values(elementwise_model);
  REQUIRE(set(elementwise_model, values, "cache_gain", 4));
  REQUIRE(set(elementwise_model, values, "plain_efficiency", 1));
  chip.cache = 1e9;
  const KernelCall call = elementwise_call(OpKind::elementwise, 10000, 10000, 2e8);
  const double kept = elementwise_model.predict(call, chip, values);
  CHECK(kept < 0.4 * call.op.work.bytes() / chip.bandwidth);
  chip.cache = 3.99e8;  // not quite enough for 4e8 B: by the soft step, part would stay
  CHECK(elementwise_model.predict(call, chip, values) == doctest::Approx(call.op.work.bytes() / chip.bandwidth));
}

KernelCall read_row(const std::string& text) {
  const auto table = parse_csv(text, "rows.csv");
  REQUIRE(table.has_value());
  const auto reader = RowReader::make(*table, KernelKind::elementwise);
  REQUIRE(reader.has_value());
  const auto call = reader->read(table->rows.front());
  REQUIRE(call.has_value());
  return *call;
}

TEST_CASE("elementwise: a row's name tells the operator, its tokens the width") {
  const std::string header = "op,tokens,bytes_read,bytes_written,dtype\n";
  const KernelCall norm = read_row(header + "input_layernorm,8,65536,65536,fp16\n");
  CHECK(norm.op.kind == OpKind::rms_norm);
  CHECK(norm.dim(Dim::n) == 4096);
  CHECK(read_row(header + "attn_rope,8,65536,65536,fp16\n").op.kind == OpKind::rotary);
  CHECK(read_row(header + "mlp_act,8,65536,65536,fp16\n").op.kind == OpKind::activation);
  CHECK(read_row(header + "add,8,65536,65536,fp16\n").op.kind == OpKind::elementwise);
  const KernelCall lookup = read_row(header + "emb,8,0,65536,fp16\n");
  CHECK(lookup.op.kind == OpKind::embedding);
  CHECK(lookup.op.work.bytes() == 65536);
  const KernelCall unknown = read_row("bytes_read,bytes_written,op\n64,128,norm\n");
  CHECK(unknown.op.kind == OpKind::elementwise);
  CHECK(unknown.op.work.bytes() == 192);
}

}  // namespace
}  // namespace gambrel::sim
