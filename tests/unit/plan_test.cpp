// Plans: what fits a model and a number of chips, what is said if it does not, and which chips each axis joins.
#include "sim/plan/plan.hpp"

#include <algorithm>
#include <cmath>

#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;
using models::MeshAxis;

namespace {

const std::string dense =
    "  - {count: 6, attention: {kind: gqa, heads: 6, kv_heads: 3, head_dim: 8}, ffn: {kind: dense, inner: 24}}\n";
const std::string routed =
    "  - {count: 4, attention: {kind: mha, heads: 16, head_dim: 8}, ffn: {kind: moe, experts: 8, top_k: 2, inner: 24}}\n";

/// "message | hint", or nothing.
std::string problem(const ParallelismPlan& plan, const std::string& layers, int chips) {
  const auto found = problem_with(plan, model_with(layers), chips);
  return found ? found->first + " | " + found->second : "";
}

std::string problem(const ParallelismPlan& plan, const std::string& layers = dense) {
  return problem(plan, layers, plan.chips());
}

/// The mesh of experts takes what the dense one has.
ParallelismPlan whole(ParallelismPlan plan) {
  plan.expert_data = plan.chips() / plan.pipeline / plan.expert / plan.expert_tensor;
  return plan;
}

hw::NetworkLevel level(std::string name, int size, std::vector<int> shape = {}) {
  hw::NetworkLevel l;
  l.level = std::move(name);
  l.size = size;
  l.shape = shape.empty() ? std::vector<int>{size} : std::move(shape);
  if (l.shape.size() > 1) l.topology = hw::TopologyKind::torus;
  return l;
}

hw::Pool nodes(int chips, int count) {
  hw::Pool pool;
  pool.network = {level("nvlink", chips), level("infiniband", count)};
  return pool;
}

}  // namespace

TEST_CASE("a plan that fits has no problem") {
  CHECK(problem(whole({.tensor = 3, .data = 2, .pipeline = 2})) == "");
  CHECK(problem(whole({.tensor = 6, .context = 2, .pipeline = 6, .sequence = true})) ==
        "");  // each key/value head twice
  CHECK(problem(whole({.tensor = 2, .data = 4, .expert = 8}), routed) == "");
  CHECK(problem(whole({.pipeline = 4})) == "");  // 6 layers on 4 stages: 2, 2, 1, 1
}

TEST_CASE("what the model cannot be cut by, and by what it can") {
  CHECK(problem(whole({.tensor = 8})) == "tensor 8 does not divide 6 attention heads | tensor could be 1, 3, 6");
  CHECK(problem(whole({.tensor = 4, .data = 3})) ==
        "tensor 4 does not divide 6 attention heads | tensor could be 1, 3, 6");  // 2 not: 3 KV heads
  CHECK(problem(whole({.tensor = 2, .data = 6})) ==
        "tensor 2 and 3 key/value heads do not divide each other | tensor could be 1, 3, 6");
  CHECK(problem(whole({.data = 16, .expert = 16}), routed) ==
        "expert 16 does not divide 8 experts | expert could be 1, 2, 4, 8");
  CHECK(problem(whole({.data = 16, .expert_tensor = 16}), routed) ==
        "expert_tensor 16 does not divide 24 columns of an expert | expert_tensor could be 1, 2, 3, 4, 6, 8, 12, 24");
  CHECK(problem(whole({.tensor = 3, .context = 4, .exchange = models::ContextExchange::ulysses})) ==
        "context 4 does not divide 2 attention heads of one tensor rank | context could be 1, 2");
  CHECK(problem(whole({.tensor = 3, .context = 4})) == "");
}

TEST_CASE("state spaces share groups, the 2D layout cuts the residual stream") {
  const std::string mamba = "  - {mamba: {heads: 12, head_dim: 8, state: 6, groups: 2}}\n";
  CHECK(problem(whole({.tensor = 3}), mamba) ==
        "tensor 3 and 2 groups of state spaces do not divide each other | tensor could be 1, 2, 4, 6, 12");
  CHECK(problem(whole({.tensor = 4}), mamba) == "");
  CHECK(problem(whole({.tensor = 4, .context = 2}), mamba) ==
        "context 2 does not divide 3 state-space heads of one tensor rank | context could be 1, 3");
  CHECK(problem(whole({.tensor = 3, .layout = models::Layout::weight_stationary_2d})) ==
        "tensor 3 does not divide 16 elements of the residual stream | tensor could be 1");
}

TEST_CASE("meshes that do not multiply out say what would") {
  CHECK(
      problem(whole({.tensor = 3, .data = 2}), dense, 12) ==
      "tensor 3 x context 1 x data 2 x pipeline 1 = 6 chips, not 12 | tensor 6, or context 2, or data 4, or pipeline 2 would fit");
  CHECK(problem(whole({.tensor = 3}), dense, 8) ==
        "tensor 3 x context 1 x data 1 x pipeline 1 = 3 chips, not 8 | tensor 8 would fit");
  CHECK(
      problem(whole({.tensor = 3, .data = 3}), dense, 8) ==
      "tensor 3 x context 1 x data 3 x pipeline 1 = 9 chips, not 8 | each axis and the product of any of them must divide 8");
  CHECK(
      problem({.data = 16, .expert = 8}, routed) ==
      "expert 8 x expert_tensor 1 x expert_data 1 x pipeline 1 = 8 chips, not 16 | expert 16, or expert_tensor 2, or expert_data 2, or pipeline 2 would fit");
  CHECK(problem(whole({.data = 8, .expert = 8})) == "the model has no experts | expert: 1 and expert_tensor: 1");
}

TEST_CASE("pipelines: stages, chunks, micro-batches, schedules") {
  CHECK(problem(whole({.pipeline = 8})) == "pipeline 8 is more than 6 layers | at most 6 stages");
  CHECK(problem(whole({.pipeline = 4, .schedule = Schedule::interleaved, .interleave = 2})) ==
        "pipeline 4 x interleave 2 is more than 6 layers | at most 3 stages");
  CHECK(problem(whole({.pipeline = 3, .microbatches = 7, .schedule = Schedule::interleaved, .interleave = 2})) ==
        "an interleaved pipeline of 3 runs its micro-batches in groups of 3, not 7 | microbatches could be 9 or 12");
  CHECK(problem(whole({.pipeline = 3, .microbatches = 6, .schedule = Schedule::interleaved, .interleave = 2})) == "");
  CHECK(problem(whole({.pipeline = 3, .microbatches = 7})) == "");
  CHECK(problem(whole({.data = 2, .schedule = Schedule::interleaved, .interleave = 2})) ==
        "interleave needs a pipeline | pipeline of 2 or more, or interleave: 1");
  CHECK(problem(whole({.pipeline = 2, .interleave = 2})) ==
        "schedule 1f1b has no interleave | schedule: interleaved, or interleave: 1");
}

TEST_CASE("sequence parallelism needs tensor ranks and a layout that leaves tokens to it") {
  CHECK(problem({.sequence = true}) ==
        "sequence parallelism runs over the tensor axis, which is 1 | tensor of 2 or more, or sequence: false");
  CHECK(problem(whole({.tensor = 3, .sequence = true, .layout = models::Layout::weight_stationary_2d})) ==
        "the 2d layout cuts activations by width, sequence parallelism by tokens | sequence: false, or another layout");
}

TEST_CASE("axes from the innermost outwards") {
  const ParallelismPlan plan = whole({.tensor = 8, .context = 2, .data = 4, .pipeline = 3, .expert = 16});
  const Placed usual = placed(plan, {MeshAxis::tensor, MeshAxis::context, MeshAxis::data, MeshAxis::pipeline});
  CHECK(usual.of(MeshAxis::tensor) == RankGroup{8, 1});
  CHECK(usual.of(MeshAxis::context) == RankGroup{2, 8});
  CHECK(usual.of(MeshAxis::data) == RankGroup{4, 16});
  CHECK(usual.of(MeshAxis::pipeline) == RankGroup{3, 64});
  CHECK(usual.of(MeshAxis::expert) == RankGroup{16, 1});
  CHECK(usual.of(MeshAxis::expert_data) == RankGroup{4, 16});
  CHECK(usual.gradients == RankGroup{8, 8});
  const Placed inside = placed(plan, {MeshAxis::tensor, MeshAxis::context, MeshAxis::pipeline, MeshAxis::data});
  CHECK(inside.of(MeshAxis::pipeline) == RankGroup{3, 16});
  CHECK(inside.of(MeshAxis::data) == RankGroup{4, 48});
  CHECK(inside.of(MeshAxis::expert) == RankGroup{16, 1});
  CHECK(inside.of(MeshAxis::expert_data) == RankGroup{4, 48});
}

TEST_CASE("the usual order comes first, and only regular ones come") {
  const ParallelismPlan plan = whole({.tensor = 8, .context = 2, .data = 4, .pipeline = 4, .expert = 32});
  const auto orders = axis_orders(plan, nodes(8, 32));
  REQUIRE(!orders.empty());
  CHECK(orders.front() == std::vector{MeshAxis::tensor, MeshAxis::context, MeshAxis::data, MeshAxis::pipeline});
  for (const auto& order : orders) {
    const auto at = [&](MeshAxis axis) { return std::ranges::find(order, axis) - order.begin(); };
    CHECK(std::abs(at(MeshAxis::context) - at(MeshAxis::data)) == 1);  // one group for the gradients
    CHECK(order.size() == 4);
    const RankGroup expert = placed(plan, order).of(MeshAxis::expert);
    CHECK((expert == RankGroup{32, 1} || expert == RankGroup{32, 4}));  // never with the pipeline in its midst
  }
  CHECK(axis_orders({}, nodes(8, 1)).size() == 1);
}

TEST_CASE("`place` puts axes into levels, or torus axes") {
  ParallelismPlan plan = whole({.tensor = 8, .data = 4, .pipeline = 2});
  plan.place = {{MeshAxis::data, {"infiniband"}}, {MeshAxis::tensor, {"nvlink"}}};
  for (const auto& order : axis_orders(plan, nodes(8, 8))) CHECK(order.front() == MeshAxis::tensor);
  plan.place = {{MeshAxis::pipeline, {"nvlink"}}};
  for (const auto& order : axis_orders(plan, nodes(8, 8)))
    CHECK(placed(plan, order).of(MeshAxis::pipeline).stride <= 4);
  plan.place = {{MeshAxis::tensor, {"infiniband"}}};  // 8 nodes: all that lies outside a node
  const auto outside = axis_orders(plan, nodes(8, 8));
  REQUIRE(!outside.empty());
  for (const auto& order : outside) CHECK(placed(plan, order).of(MeshAxis::tensor).stride == 8);
  plan.place = {{MeshAxis::tensor, {"nvlink"}}, {MeshAxis::data, {"nvlink"}}};
  CHECK(axis_orders(plan, nodes(8, 8)).empty());
  CHECK_FALSE(axis_orders(plan, nodes(32, 2)).empty());

  hw::Pool torus;
  torus.network = {level("ici", 64, {8, 4, 2})};
  plan.place = {{MeshAxis::tensor, {"ici.x"}}, {MeshAxis::pipeline, {"ici.z"}}};
  const auto on_torus = axis_orders(plan, torus);
  REQUIRE(on_torus.size() == 1);
  CHECK(on_torus[0] == std::vector{MeshAxis::tensor, MeshAxis::data, MeshAxis::pipeline, MeshAxis::context});
  plan.place = {{MeshAxis::tensor, {"ici"}}};
  CHECK(axis_orders(plan, torus).size() == 6);
}

TEST_CASE("a plan in words, and as the graph needs it") {
  CHECK(describe(ParallelismPlan{}) == "");
  CHECK(describe(whole({.tensor = 8, .data = 4, .pipeline = 16, .zero = 1})) ==
        "tensor 8, data 4, pipeline 16, zero 1, 1f1b");
  const models::Sharding s =
      ParallelismPlan{.tensor = 8, .context = 2, .data = 4, .expert_tensor = 2, .expert = 32, .sequence = true}
          .sharding();
  CHECK(s ==
        models::Sharding{.tensor = 8, .context = 2, .data = 4, .expert_tensor = 2, .expert = 32, .sequence = true});
}
