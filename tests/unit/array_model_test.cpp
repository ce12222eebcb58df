// Matrix products of operators, and their time on systolic arrays.
#include "sim/kernel_models/array_model.hpp"

#include "models/fuse.hpp"
#include "run_support.hpp"
#include "sim/kernel_models/systolic.hpp"

using namespace gambrel;
using namespace gambrel::test;
using models::Dim;
using models::LoweredOp;
using models::OpKind;

namespace {

/// Four arrays of 128 x 128 at 1.5 GHz.
sim::MathRate four_arrays(double per_cycle = 1) {
  sim::MathRate rate;
  rate.rate = rate.sparse_rate = 2.0 * 128 * 128 * 4 * 1.5e9 * per_cycle;
  rate.rows = rate.columns = 128;
  rate.arrays = 4;
  return rate;
}

LoweredOp product(double m, double n, double k) {
  LoweredOp op{.kind = OpKind::gemm};
  op.dims[Dim::m] = m, op.dims[Dim::n] = n, op.dims[Dim::k] = k;
  op.work.flops = 2 * m * n * k;
  return op;
}

double seconds(double m, double n, double k) { return sim::array_seconds(four_arrays(), product(m, n, k), 1); }

std::string decode_on(const std::string& chip, const std::string& more = "") {
  return fmt::format("model: llama-3.1-8b\nsystem: {}\nworkload: {{phase: decode, batch: 32, context: 1024}}\nprecision: {{weights: int8_wo}}\n{}", chip, more);
}

}  // namespace

TEST_CASE("arrays: cycles are those of the folds that one array gets, fill and drain once") {
  // 1024 folds of 128 x 128, a quarter to each array, 256 rows streamed through each; one load, fill and drain.
  CHECK(seconds(256, 4096, 4096) == doctest::Approx((256.0 * 256 + 128 + 254) / 1.5e9));
  // Fewer rows than a fold's weights take to load: loading decides.
  CHECK(seconds(32, 4096, 4096) == doctest::Approx((256.0 * 128 + 128 + 254) / 1.5e9));
  CHECK(seconds(1, 4096, 4096) == seconds(128, 4096, 4096));
}

TEST_CASE("arrays: one column more than whole arrays pads a whole column of them") {
  CHECK(seconds(512, 4097, 4096) > 1.02 * seconds(512, 4096, 4096));
  CHECK(seconds(512, 4096, 4097) > 1.02 * seconds(512, 4096, 4096));
  CHECK(seconds(512, 4097, 4096) == seconds(512, 4224, 4096));
}

TEST_CASE("arrays: a format that runs twice as fast takes half the time") {
  const LoweredOp op = product(512, 4096, 4096);
  CHECK(sim::array_seconds(four_arrays(2), op, 1) == doctest::Approx(sim::array_seconds(four_arrays(), op, 1) / 2));
}

TEST_CASE("arrays: one fold is not shared out, but its rows are") {
  CHECK(seconds(4096, 128, 128) == doctest::Approx((1024.0 + 128 + 254) / 1.5e9));
  CHECK(sim::shared_cycles(1, 777, 300, 500, 128, 128, hw::Dataflow::weight_stationary, 1) ==
        sim::overlapped_cycles(777, 300, 500, 128, 128, hw::Dataflow::weight_stationary));
}

TEST_CASE("arrays: the products of every contraction of every kind of model sum to its FLOPs") {
  for (const std::string model : {"llama-3.1-8b", "deepseek-v2-lite", "gpt-oss-20b", "mixtral-8x7b", "gemma-3-1b"})
    for (const std::string fusion : {"true", "false"})
      for (const std::string work : {"{phase: decode, batch: 7, context: 333}", "{phase: prefill, batch: 2, new_tokens: 777}"}) {
        const sim::Run run = run_of(fmt::format("model: {}\nsystem: tpu-v5e\nworkload: {}\nfusion: {{attention: {}, experts: {}}}\n", model, work, fusion, fusion));
        const models::Graph graph = models::build(run.model, run.policy(), run.step(2, 3, 50));
        for (const LoweredOp& op : models::lower(graph)) {
          double flops = 0;
          for (const sim::Product& p : sim::products_of(op.kind, op.dims, op.dims[Dim::groups] / 2)) flops += p.flops();
          if (models::row_of(op.kind).contraction) CHECK_MESSAGE(flops == doctest::Approx(op.work.flops), model, " ", to_string(op.kind));
          else CHECK(flops == 0);
        }
      }
}

TEST_CASE("arrays: the products of backward passes sum to their FLOPs") {
  LoweredOp op;
  op.dims[Dim::batch] = 2, op.dims[Dim::heads] = 8, op.dims[Dim::kv_heads] = 2, op.dims[Dim::queries] = 64, op.dims[Dim::keys] = 64;
  op.dims[Dim::pairs] = 64 * 65 / 2, op.dims[Dim::qk_width] = 192, op.dims[Dim::v_width] = 128;
  op.dims[Dim::m] = 96, op.dims[Dim::n] = 40, op.dims[Dim::k] = 32, op.dims[Dim::projections] = 3;
  for (OpKind kind : {OpKind::attention_backward, OpKind::expert_ffn_backward}) {
    double flops = 0;
    for (const sim::Product& p : sim::products_of(kind, op.dims, 4)) flops += p.flops();
    CHECK_MESSAGE(flops == doctest::Approx(models::row_of(kind).flops(op.dims)), to_string(kind));
  }
}

TEST_CASE("arrays: no chip's arrays are faster than its peak") {
  for (const std::string& chip : shipped().names("chips")) {
    const sim::Machine machine = sim::make_machine(run_of(decode_on(chip)).system.chip(), {}, "");
    const sim::MathRate& rate = machine.rate_of(Format::bf16);
    if (rate.arrays == 0) continue;
    for (double m : {1.0, 100.0, 5000.0}) CHECK_MESSAGE(sim::array_seconds(rate, product(m, 4097, 1000), 1) >= product(m, 4097, 1000).work.flops / rate.rate, chip);
  }
}

TEST_CASE("arrays: a TPU borrows no constants; its products take their folds, and the roofline stays beside them") {
  const sim::Estimate e = estimate_of(run_of(decode_on("tpu-v5e"))), bound = estimate_of(run_of(decode_on("tpu-v5e", "cost_model: roofline\n")));
  CHECK(e.total.time > bound.total.time);
  CHECK(e.total.roofline.value == doctest::Approx(bound.total.time.value));
  CHECK(e.total.mfu < bound.total.mfu);
  for (std::size_t i = 0; i < e.phases[0].ops.size(); ++i) {
    const sim::OpEstimate &folds = e.phases[0].ops[i], &plain = bound.phases[0].ops[i];
    CHECK(folds.provenance == sim::Provenance::analytic);
    CHECK(folds.roofline == plain.time);
    CHECK(folds.time >= plain.time);
    if (folds.kind != "gemm" && folds.kind != "attention") CHECK(folds.time == plain.time);
  }
  // 32 rows: loading the weights into the arrays takes longer than reading their int8 from memory.
  CHECK(op_named(bound.phases[0], "mlp.down").bound == "HBM");
  CHECK(op_named(e.phases[0], "mlp.down").bound == "compute");
  CHECK(op_named(e.phases[0], "mlp.down").t_math > op_named(bound.phases[0], "mlp.down").t_math);
}

TEST_CASE("arrays: a hidden width of 4096 + 1 is slower than 4096 by more than its share") {
  const std::string prefill = "model: llama-3.1-8b\nsystem: tpu-v5e\nworkload: {phase: prefill, batch: 1, new_tokens: 2048}\n";
  const auto down = [&](const char* inner) { return op_named(estimate_of(run_of(prefill, {std::string("model.layers.0.ffn.inner=") + inner})).phases[0], "mlp.down").time.value; };
  CHECK(down("14337") > 1.005 * down("14336"));
  CHECK(down("14337") == doctest::Approx(down("14464")).epsilon(0.001));
}
