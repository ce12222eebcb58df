// `plan:` and `chips:` of run files: what they mean, what is filled in, what is refused and where.
#include "sim/plan/read_plan.hpp"

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

const std::string node = "model: llama-3.2-1b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 4, context: 128}\n";
const std::string cluster = "model: gpt2\nsystem: a100-superpod\nworkload: {phase: train, global_batch: 64, micro_batch: 2, sequence: 128}\n";
const std::string experts = "model: mixtral-8x7b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 4, context: 128}\n";

/// What the prediction objects to, of a run that reads.
std::string estimate_errors(const std::string& text) {
  const auto estimated = estimate(run_of(text));
  return estimated ? "predicted" : placed(estimated.error());
}

}  // namespace

TEST_CASE("plan: no plan and no chips is one chip") {
  const Run run = run_of(node);
  CHECK(run.chips == 1);
  CHECK(run.plan == ParallelismPlan{});
  CHECK_FALSE(run.best_plan);
}

TEST_CASE("plan: chips are the product if left out, data is what is left") {
  CHECK(run_of(node + "plan: {tensor: 4, data: 2}\n").chips == 8);
  CHECK(run_of(node + "plan: {tensor: 4}\n").chips == 4);
  CHECK(run_of(node + "plan: {tensor: 4}\nchips: 8\n").plan.data == 2);
  CHECK(run_of(node + "chips: 8\n").plan.data == 8);
  CHECK(run_of(experts + "plan: {tensor: 2, data: 4, expert: 4}\n").plan.expert_data == 2);
  CHECK(run_of(experts + "plan: {pipeline: 2, data: 4, expert: 2, expert_tensor: 2}\n").plan.expert_data == 1);
}

TEST_CASE("plan: every key") {
  const ParallelismPlan p = run_of(cluster + "plan: {tensor: 2, sequence: true, context: 2, pipeline: 2, data: 2, zero: 1, microbatches: 16, schedule: interleaved, interleave: 3, recompute: selective,"
                                             " context_exchange: ulysses, overlap: {gradients: false, weights: false, tensor: 0.5, expert: 0.25}, place: {tensor: nvlink}}\n").plan;
  const ParallelismPlan expected{.tensor = 2, .context = 2, .data = 2, .pipeline = 2, .expert_data = 8, .sequence = true, .exchange = models::ContextExchange::ulysses, .zero = 1, .microbatches = 16,
                                 .schedule = Schedule::interleaved, .interleave = 3, .recompute = models::Recompute::selective, .overlap_gradients = false, .overlap_weights = false,
                                 .overlap_tensor = 0.5, .overlap_expert = 0.25, .place = {{models::MeshAxis::tensor, {"nvlink"}}}};
  CHECK(p == expected);
  CHECK(run_of(cluster + "plan: {tensor: 2, layout: 2d}\n").plan.layout == models::Layout::weight_stationary_2d);
  CHECK(run_of(cluster + "plan: {tensor: 2, layout: weight-gathered, context_exchange: all-gather, recompute: full, schedule: gpipe}\n").plan.layout == models::Layout::weight_gathered);
  CHECK(run_of(cluster + "plan: {pipeline: 2, interleave: 2}\n").plan.schedule == Schedule::interleaved);
  CHECK(run_of(cluster + "plan: {pipeline: 2, schedule: zero-bubble}\n").plan.schedule == Schedule::zero_bubble);
}

TEST_CASE("plan: sequence parallelism is on, off, or tensor's number") {
  CHECK(run_of(node + "plan: {tensor: 4, sequence: 4}\n").plan.sequence);
  CHECK_FALSE(run_of(node + "plan: {tensor: 4, sequence: 1}\n").plan.sequence);
  CHECK_FALSE(run_of(node + "plan: {sequence: true}\n").plan.sequence);  // nothing to run over
  CHECK(run_errors(node + "plan: {tensor: 4, sequence: 2}\n") == "run.yaml:4:29: sequence 2 is not tensor's 4 | sequence parallelism runs over the tensor axis: true, or tensor's number\n");
}

TEST_CASE("plan: best searches, on the chips given or all there are") {
  const Run all = run_of(node + "plan: best\n"), some = run_of(node + "plan: best\nchips: 2\n");
  CHECK(all.best_plan);
  CHECK(all.chips == 8);
  CHECK(some.chips == 2);
  CHECK(run_errors(node + "plan: fastest\n").find("run.yaml:4:7: 'fastest' is no plan | best, or a mapping: ") == 0);
  CHECK(run_errors(node + "plan: best\nchips: 16\n").find("16 chips, but dgx-h100 has 8") != std::string::npos);
}

TEST_CASE("plan: meshes that do not multiply out") {
  CHECK(run_errors(node + "plan: {tensor: 2, data: 2}\nchips: 8\n") == "run.yaml:4:7: tensor 2 x context 1 x pipeline 1 x data 2 = 4 chips, not 8 | data: 4 would fit\n");
  CHECK(run_errors(node + "plan: {tensor: 3}\nchips: 8\n") == "run.yaml:4:7: tensor 3 x context 1 x pipeline 1 x data 2 = 6 chips, not 8 | tensor x context x pipeline must divide 8\n");
  CHECK(run_errors(experts + "plan: {data: 8, expert: 3}\n").find("run.yaml:4:7: expert 3 x expert_tensor 1 x expert_data 2 x pipeline 1 = 6 chips, not 8") == 0);
}

TEST_CASE("plan: what model and system do not allow, at the plan's place") {
  CHECK(run_errors(cluster + "plan: {tensor: 8}\n").find("run.yaml:4:7: tensor 8 does not divide 12 attention heads | tensor could be 1, 2, 3, 4, 6, 12") == 0);
  CHECK(run_errors(cluster + "plan: {pipeline: 16}\n").find("run.yaml:4:7: pipeline 16 is more than 12 layers") == 0);
  CHECK(run_errors(node + "plan: {data: 16}\n") == "run.yaml:4:7: 16 chips, but dgx-h100 has 8 | a larger system, or a smaller plan\n");
  CHECK(run_errors(node + "chips: 16\n") == "run.yaml:4:8: 16 chips, but dgx-h100 has 8 | a larger system, or a smaller plan\n");
  CHECK(run_errors(node + "plan: {data: 4, expert: 4}\n").find("run.yaml:4:7: llama-3.2-1b has no experts") == 0);
  CHECK(run_errors("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 4, context: 128}\nplan: {tensor: 2}\n").find("run.yaml:4:7: 2 chips, but h100-sxm has 1") == 0);
}

TEST_CASE("plan: places name levels of the system that an axis can lie in") {
  CHECK(run_of(cluster + "plan: {tensor: 4, data: 4, place: {tensor: nvlink}}\n").plan.place.size() == 1);
  CHECK(run_errors(cluster + "plan: {tensor: 4, place: {tensor: nvlnk}}\n").find("run.yaml:4:26: no order of the axes puts each into the levels it names") == 0);
  CHECK(run_errors(cluster + "plan: {tensor: 12, place: {tensor: nvlink}}\n").find("run.yaml:4:27: no order of the axes") == 0);
  CHECK(run_errors(cluster + "plan: {tensor: 2, place: {tensr: nvlink}}\n").find("did you mean 'tensor'?") != std::string::npos);
}

TEST_CASE("plan: values that no plan can have are refused by the schema, where they stand") {
  for (const std::string bad : {"tensor: 0", "tensor: -1", "tensor: 1.5", "tensor: many", "zero: 4", "schedule: 2f2b", "recompute: half", "layout: 3d", "overlap: {tensor: 1.5}", "interleave: 0"})
    CHECK_MESSAGE(run_errors(node + "plan: {" + bad + "}\n").starts_with("run.yaml:4:"), bad);
  CHECK(run_errors(node + "plan: {tensro: 2}\n").find("did you mean 'tensor'?") != std::string::npos);
}

TEST_CASE("plan: absurd sizes are refused, not wrapped round") {
  for (const std::string plan : {"{tensor: 1000000000000}", "{tensor: 65536, data: 65536}", "{data: 8, expert: 65536, expert_tensor: 65536}", "{data: 8, expert: 1000000000000, expert_tensor: 1000000000000}",
                                 "{pipeline: 1000000000000, interleave: 1000000000000}", "{tensor: 1000000000, context: 1000000000, pipeline: 1000000000, data: 1000000000}", "{data: 8, expert_data: 1000000000000}"})
    CHECK_MESSAGE(run_errors(experts + "plan: " + plan + "\n").starts_with("run.yaml:4:7: "), plan);
  for (const std::string chips : {"1000000000000", "1e300", "4294967304"}) {
    CHECK_MESSAGE(run_errors(node + "chips: " + chips + "\n").starts_with("run.yaml:4:8: "), chips);
    CHECK_MESSAGE(run_errors(node + "chips: " + chips + "\nplan: best\n").starts_with("run.yaml:"), chips);
  }
}

TEST_CASE("plan: a batch that ranks and micro-batches do not divide is refused at its place") {
  CHECK(estimate_errors(cluster + "plan: {data: 3}\n") == "run.yaml:3:11: global_batch 64 is no multiple of micro_batch 2 x data 3 | 60 or 66 would be\n");
  CHECK(estimate_errors(cluster + "plan: {data: 64}\n") == "run.yaml:3:11: global_batch 64 is no multiple of micro_batch 2 x data 64 | 128 would be\n");
  CHECK(estimate_errors(cluster + "plan: {data: 4, microbatches: 9}\n").find("run.yaml:4:7: 9 micro-batches, but global_batch 64 over micro_batch 2 x data 4 makes 8") == 0);
  CHECK(estimate_errors(cluster + "plan: {pipeline: 3, data: 1, schedule: interleaved, interleave: 2}\n").find("run.yaml:4:7: 32 micro-batches are no multiple of pipeline 3") == 0);
  CHECK(estimate_errors(cluster + "plan: {data: 4, microbatches: 8}\n") == "predicted");
}

TEST_CASE("plan: formats of training, gradients' own unless reduce says otherwise") {
  const Run run = run_of(cluster + "precision: {weights: bf16, activations: bf16, gradients: bf16, master: bf16, optimizer: fp16}\n");
  CHECK(run.training.gradients == DataType(Format::bf16));
  CHECK(run.training.reduced == DataType(Format::bf16));
  CHECK(run.training.master == DataType(Format::bf16));
  CHECK(run.training.moments == DataType(Format::fp16));
  CHECK(run_of(cluster + "precision: {gradients: fp32, reduce: bf16}\n").training.reduced == DataType(Format::bf16));
  CHECK(run_of(cluster).training.moments == DataType(Format::fp32));
}
