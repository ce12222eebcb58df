// Estimates of several chips: what one rank does, what is summed over all of them, where the time goes.
#include <algorithm>
#include <cmath>

#include "run_support.hpp"
#include "sim/plan_search/plan_search.hpp"
#include "sim/rank_phase.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;
using models::MeshAxis;

namespace {

const std::string node = "model: llama-3.1-8b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 32, context: 2048}\n";
const std::string train = "model: gpt2\nsystem: dgx-a100\nworkload: {phase: train, global_batch: 16, micro_batch: 1, sequence: 256, tokens: 1e9}\n";

Estimate with(const std::string& text, const std::string& plan, const std::string& more = "") { return estimate_of(text + "plan: " + plan + "\n" + more); }

double parts(const StepTimeline& t) { return t.compute.value + t.exposed_network.value + t.bubble.value + t.overhead.value; }

std::string used(const Estimate& e) {
  std::string text;
  for (const NetworkUse& use : e.network) text += fmt::format("{} over {} {}; ", use.collective, use.axis, use.ranks);
  return text;
}

}  // namespace

TEST_CASE("plans: one chip of a system is that chip alone") {
  const Estimate alone = estimate_of("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 2048}\n");
  const Estimate one = with(node, "{tensor: 1, context: 1, pipeline: 1, data: 1}");
  CHECK(one.total.time == alone.total.time);
  CHECK(one.total.flops == alone.total.flops);
  CHECK(one.total.mfu == alone.total.mfu);
  CHECK(one.memory.max_batch == alone.memory.max_batch);
  CHECK(one.timeline.compute == alone.total.time);
  CHECK(one.plan.empty());
  CHECK(one.network.empty());
  for (std::size_t i = 0; i < one.phases[0].ops.size(); ++i) CHECK(one.phases[0].ops[i].time == alone.phases[0].ops[i].time);
}

TEST_CASE("plans: tensor ranks share the work; together they do what one did") {
  const Estimate one = estimate_of(node), eight = with(node, "{tensor: 8}");
  CHECK(eight.chips == 8);
  CHECK(eight.plan == "tensor 8");
  CHECK(op_named(eight.phases[0], "attn.qkv").ranks == 8);
  CHECK(op_named(eight.phases[0], "attn.qkv").flops.value == doctest::Approx(op_named(one.phases[0], "attn.qkv").flops.value / 8));
  const auto products = [](const Estimate& e) {
    double sum = 0;
    for (const OpEstimate& op : e.phases[0].ops) sum += op.kind == "gemm" || op.kind == "attention" ? op.count * op.ranks * op.flops.value : 0;
    return sum;
  };
  CHECK(products(eight) == doctest::Approx(products(one)));
  CHECK(eight.memory.tiers[0].weights.value == doctest::Approx(one.memory.tiers[0].weights.value / 8).epsilon(0.01));
  CHECK(eight.memory.tiers[0].kv_cache.value == doctest::Approx(one.memory.tiers[0].kv_cache.value / 8));
  CHECK(eight.memory.max_batch > 8 * one.memory.max_batch);
  CHECK(eight.total.time < one.total.time);
  CHECK(eight.total.time.value > one.total.time.value / 8);
  CHECK(eight.total.tokens == one.total.tokens);
}

TEST_CASE("plans: what ranks compute twice is said, in proportion; data ranks compute nothing twice") {
  const auto share = [](const Estimate& e) {
    REQUIRE(e.plan_flops.has_value());
    CHECK(e.plan_flops->recomputed == 0);
    return 100 * e.plan_flops->replicated / e.plan_flops->unsharded;
  };
  // 8 key/value heads over 16 ranks are there twice: one more of the 32 + 2 x 8 heads' columns of qkv for each of the 8.
  const std::string pod = "model: llama-3.1-8b\nsystem: h100-superpod\nchips: 16\nworkload: {phase: decode, batch: 32, context: 2048}\n";
  const double qkv = 2.0 * 16 * 128 * 4096 * 32 * 2, all = 2.0 * 7.5e9;
  CHECK(share(with(pod, "{tensor: 16}")) == doctest::Approx(100 * qkv / 2 / all).epsilon(0.5));
  CHECK(share(with(pod, "{tensor: 16}")) > share(with(node, "{tensor: 8}")));
  CHECK(share(with(node, "{data: 8}")) == 0);
  CHECK_FALSE(estimate_of(node, {"plan={}", "chips=1", "system=h100-sxm"}).plan_flops.has_value());
}

TEST_CASE("plans: full recomputation repeats the forward pass of the layers, and says so") {
  const std::string text = "model: gpt2-xl\nsystem: a100-superpod\nchips: 8\nworkload: {phase: train, global_batch: 8, micro_batch: 1, sequence: 1024}\n";
  const auto flops = [&](const std::string& plan) { return *with(text, plan).plan_flops; };
  const sim::PlanFlops none = flops("{tensor: 1, data: 8}"), full = flops("{tensor: 1, data: 8, recompute: full}");
  CHECK(none.recomputed == 0);
  CHECK(full.unsharded == doctest::Approx(none.unsharded));
  CHECK(full.recomputed > 0.25 * none.unsharded);   // a third of forward and backward, without the head
  CHECK(full.recomputed < 0.34 * none.unsharded);
}

TEST_CASE("plans: data ranks each take their sequences and need no network to serve") {
  const Estimate data = with(node, "{data: 4}"), quarter = estimate_of(node, {"workload.batch=8"});
  CHECK(data.total.time.value == doctest::Approx(quarter.total.time.value));
  CHECK(data.total.tokens == 32);
  CHECK(data.total.flops.value == doctest::Approx(4 * quarter.total.flops.value));
  CHECK(data.network.empty());
  CHECK(data.memory.tiers[0].weights == quarter.memory.tiers[0].weights);
}

TEST_CASE("plans: a batch that does not divide costs what its fullest rank does") {
  const Estimate uneven = estimate_of(node + "plan: {data: 4}\n", {"workload.batch=9"}), even = estimate_of(node + "plan: {data: 4}\n", {"workload.batch=12"});
  CHECK(uneven.total.time == even.total.time);
  CHECK(uneven.total.tokens == 9);
}

TEST_CASE("plans: a pipeline hands the residual stream on, and its fullest stage keeps what counts") {
  const Estimate four = with(node, "{pipeline: 4}");
  CHECK(used(four) == "point_to_point over pipeline 2; ");
  CHECK(four.network[0].bytes.value == 8 * 4096 * 2);  // four micro-batches of 8 tokens in bf16
  CHECK(four.network[0].count == 3 * 4);
  CHECK(four.memory.tiers[0].weights.value < 0.4 * estimate_of(node).memory.tiers[0].weights.value);
  CHECK(parts(four.timeline) == doctest::Approx(four.total.time.value));
  CHECK(four.phases[0].pipeline.stages == 4);
}

TEST_CASE("plans: collectives are rows of their own, bound by the network") {
  const Estimate eight = with(node, "{tensor: 8}");
  double seconds = 0;
  for (const OpEstimate& op : eight.phases[0].ops) {
    if (!op.message) continue;
    CHECK(op.bound == "network");
    CHECK(op.message->axis == "tensor");
    CHECK(op.message->level == "nvlink");
    CHECK(op.flops.value == 0);
    CHECK(op.time_low <= op.time);
    CHECK(op.time <= op.time_high);
    seconds += op.time.value * op.count;
  }
  CHECK(seconds > 0);
  CHECK(eight.timeline.exposed_network.value == doctest::Approx(seconds));
  double listed = 0;
  for (const NetworkUse& use : eight.network) listed += use.count * use.time.value;
  CHECK(listed == doctest::Approx(seconds));
}

TEST_CASE("plans: a generation's collectives stay bound by the network") {
  const Estimate e = estimate_of("model: gpt2\nsystem: dgx-h100\nworkload: {phase: generate, batch: 4, input: 64, output: 9}\nplan: {tensor: 4}\n");
  for (const Phase& phase : e.phases) {
    CHECK(parts(phase.timeline) == doctest::Approx(phase.total.time.value));
    for (const OpEstimate& op : phase.ops)
      if (op.message) CHECK_MESSAGE(op.bound == "network", phase.name, " ", op.name);
  }
  CHECK(e.total.time.value == doctest::Approx(e.phases[0].total.time.value + e.phases[1].total.time.value));
  CHECK(parts(e.timeline) == doctest::Approx(e.total.time.value));
}

TEST_CASE("plans: a slower level is felt by those who reach over it") {
  const std::string text = "model: llama-3.1-8b\nsystem: h100-superpod\nworkload: {phase: decode, batch: 32, context: 2048}\n";
  const std::string node_level = run_of(text).system.pools[0].network[0].level;
  const Estimate inside = with(text, "{tensor: 8, data: 8}"), across = with(text, "{tensor: 8, data: 8, place: {data: " + node_level + "}}");
  CHECK(inside.network.front().level == node_level);
  CHECK(across.network.front().level != node_level);
  CHECK(across.total.time > inside.total.time);
}

TEST_CASE("plans: the axes' order that is fastest is taken, unless places say otherwise") {
  const std::string text = "model: gpt2\nsystem: a100-superpod\nworkload: {phase: train, global_batch: 64, micro_batch: 1, sequence: 256}\nchips: 32\n";
  const double free = with(text, "{tensor: 4, data: 8}").total.time.value;
  const auto level = [&](std::size_t i) { return run_of(text).system.pools[0].network[i].level; };
  const double tensor_inside = with(text, "{tensor: 4, data: 8, place: {tensor: " + level(0) + "}}").total.time.value;
  const double data_inside = with(text, "{tensor: 4, data: 8, place: {data: " + level(0) + "}}").total.time.value;
  CHECK(free == std::min(tensor_inside, data_inside));
  CHECK(tensor_inside < data_inside);
}

TEST_CASE("plans: the host's part of a step is added to it, on any number of chips") {
  for (const std::string plan : {"{tensor: 2}", "{pipeline: 2}", "{data: 1}"}) {
    CAPTURE(plan);
    for (const std::string& text : {node, train}) {
      const Estimate without = with(text, plan), with_host = with(text, plan, "overhead: {step: 10 ms}\n");
      CHECK(with_host.total.time.value == doctest::Approx(without.total.time.value + 0.01));
      CHECK(with_host.timeline.overhead.value == doctest::Approx(0.01));
      CHECK(parts(with_host.timeline) == doctest::Approx(with_host.total.time.value));
    }
  }
}

TEST_CASE("training: a step's figures follow from its time") {
  const Estimate e = with(train, "{data: 4, pipeline: 2}");
  REQUIRE(e.training.has_value());
  const TrainingFigures& t = *e.training;
  CHECK(t.tokens_per_step == 16 * 256);
  CHECK(e.total.tokens == 16 * 256);
  CHECK(t.tokens_per_second_per_chip == doctest::Approx(16 * 256 / e.total.time.value / 8));
  CHECK(t.days == doctest::Approx(1e9 / (16 * 256) * e.total.time.value / 86400));
  CHECK(t.hfu == doctest::Approx(e.total.mfu));  // nothing is computed again
  CHECK(t.model_flops_per_chip == doctest::Approx(e.total.mfu * 312e12));
  CHECK_FALSE(estimate_of(node).training.has_value());
}

TEST_CASE("training: six FLOP a parameter and token, and attention") {
  const Estimate e = estimate_of(train);
  const double layer = 12 * 768.0 * 768, head = 50257.0 * 768, tokens = 16 * 256;
  const double attention = 3 * 12 * 12 * 4 * 64.0 * (256.0 * 257 / 2) * 16;
  CHECK(e.training->model_flops_per_chip * e.total.time.value == doctest::Approx(6 * tokens * (12 * layer + head) + attention).epsilon(0.02));
}

TEST_CASE("training: recomputation is work of the hardware, not of the model") {
  const Estimate none = with(train, "{data: 2}"), full = with(train, "{data: 2, recompute: full}");
  CHECK(full.total.time > none.total.time);
  CHECK(full.training->model_flops_per_chip * full.total.time.value == doctest::Approx(none.training->model_flops_per_chip * none.total.time.value));
  CHECK(full.training->hfu > full.total.mfu * 1.15);
  CHECK(full.training->hfu < full.total.mfu * 4 / 3);
  CHECK(full.memory.tiers.back().activations < none.memory.tiers.back().activations);
}

TEST_CASE("training: memory in the tier's report is what the stage keeps") {
  const Estimate e = with(train, "{data: 2, zero: 1}");
  const TierUse& tier = e.memory.tiers.back();
  const double parameters = e.parameters.total;
  CHECK(tier.weights.value == doctest::Approx(2 * parameters).epsilon(1e-3));
  CHECK(tier.gradients.value == doctest::Approx(4 * parameters).epsilon(1e-3));
  CHECK(tier.optimizer.value == doctest::Approx(12 * parameters / 2).epsilon(1e-3));
  CHECK(tier.activations.value > 0);
  CHECK(e.memory.fits);
  CHECK(e.memory.peak.ends_with("at the end of the forward pass"));
  CHECK(with(train, "{pipeline: 2}").memory.peak == "stage 1 of 2, when its pipeline is full");  // it has the logits
}

TEST_CASE("training: what each kind of parallelism sends") {
  const auto sends = [](const Estimate& e, std::string_view what) { return used(e).find(what) != std::string::npos; };
  CHECK(estimate_of(train).network.empty());
  CHECK(used(with(train, "{data: 8}")) == "all_reduce over data 8; ");
  const Estimate zero = with(train, "{data: 8, zero: 2}");
  CHECK(sends(zero, "reduce_scatter over data 8"));
  CHECK(sends(zero, "all_gather over data 8"));
  CHECK_FALSE(sends(zero, "all_reduce"));
  const Estimate pipeline = with(train, "{pipeline: 2}");
  CHECK(sends(pipeline, "point_to_point over pipeline 2"));
  CHECK(sends(pipeline, "all_reduce over pipeline 2"));  // the tied table
  CHECK(sends(with(train, "{tensor: 4}"), "all_reduce over tensor 4"));
  CHECK(sends(with(train, "{tensor: 4, sequence: true}"), "reduce_scatter over tensor 4"));
  CHECK(sends(with(train, "{context: 2}"), "over context 2"));
  const Estimate experts = estimate_of("model: mixtral-8x7b\nsystem: dgx-h100\nworkload: {phase: train, global_batch: 8, sequence: 512}\nplan: {data: 8, expert: 4, zero: 1}\n");
  CHECK(sends(experts, "all_to_all over expert 4"));
  CHECK(sends(experts, "reduce_scatter over expert_data 2"));
  CHECK(sends(experts, "reduce_scatter over data 8"));
}

TEST_CASE("training: gradients are reduced once a step, ZeRO-3's weights gathered twice in every micro-batch and layer") {
  const auto count = [](const Estimate& e, std::string_view collective) {
    double sum = 0;
    for (const NetworkUse& use : e.network) sum += use.collective == collective ? use.count : 0;
    return sum;
  };
  CHECK(count(with(train, "{data: 4}"), "all_reduce") == 1);
  CHECK(count(with(train, "{data: 4, zero: 3}"), "all_gather") == 2 * 4 * 12);
  CHECK(count(with(train, "{data: 4, zero: 3}"), "reduce_scatter") == 4 * 12);
}

TEST_CASE("training: overlap is never slower, and what it hides comes beside the step") {
  const Estimate hidden = with(train, "{data: 8}"), exposed = with(train, "{data: 8, overlap: {gradients: false}}");
  CHECK(hidden.total.time < exposed.total.time);
  CHECK(hidden.timeline.overlap.value > 0);
  CHECK(exposed.timeline.overlap.value == 0);
  CHECK(exposed.total.time.value - hidden.total.time.value == doctest::Approx(hidden.timeline.overlap.value));
}

TEST_CASE("groups: a collective's ranks on their axis; gradients join data and context") {
  const ParallelismPlan plan{.tensor = 4, .context = 2, .data = 4, .expert_data = 32};
  const Placed at = placed(plan, {MeshAxis::tensor, MeshAxis::context, MeshAxis::data, MeshAxis::pipeline});
  CHECK(group_of({.axis = MeshAxis::tensor, .ranks = 4}, at) == RankGroup{4, 1});
  CHECK(group_of({.axis = MeshAxis::tensor, .ranks = 2}, at) == RankGroup{2, 1});  // neighbours
  CHECK(group_of({.axis = MeshAxis::data, .ranks = 4}, at) == RankGroup{4, 8});
  CHECK(group_of({.axis = MeshAxis::data, .ranks = 8}, at) == RankGroup{8, 4});
}
