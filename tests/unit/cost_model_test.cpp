// The roofline of single operators, against numbers worked out by hand.
#include "sim/cost_model.hpp"

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;
using models::LoweredOp;
using models::OpKind;
using models::Role;
using sim::CostModel;
using sim::Costs;
using sim::Machine;

namespace {

/// Main memory of 1 TB/s over a cache of 4 TB/s; 100 TFLOP/s in bf16, 1 TFLOP/s of vector work.
Machine two_levels() {
  SmallChip small;
  small.memory.push_back({.level = "L2", .bandwidth = BytesPerSecond{4e12}});
  return sim::make_machine(chip_of(small), {}, "");
}

sim::Shares in_main(const Machine& machine) {
  sim::Shares shares;
  for (auto& share : shares) {
    share.assign(machine.levels.size(), 0.0);
    share[machine.main_level] = 1;
  }
  return shares;
}

LoweredOp op_of(OpKind kind, double flops, double vector_flops, double read, double written) {
  LoweredOp op{.kind = kind, .math = models::row_of(kind).contraction ? Format::bf16 : Format::fp32};
  op.work.flops = flops;
  op.work.vector_flops = vector_flops;
  op.work.read_bytes[static_cast<std::size_t>(Role::weight)] = read;
  op.work.written_bytes[static_cast<std::size_t>(Role::activation)] = written;
  return op;
}

sim::OpCost cost_of(const CostModel& model, const LoweredOp& op) {
  Costs costs;
  model.evaluate({&op, 1}, costs);
  return costs.ops.front();
}

constexpr int hbm = 0, l2 = 1;

}  // namespace

TEST_CASE("cost: a matrix product is bound by the slower of arithmetic and memory") {
  const Machine machine = two_levels();
  const CostModel model(machine, in_main(machine));
  const sim::OpCost memory = cost_of(model, op_of(OpKind::gemm, 1e12, 0, 0.03e12, 0.01e12));
  CHECK(memory.t_math == doctest::Approx(0.01));
  CHECK(memory.t_mem == doctest::Approx(0.04));
  CHECK(memory.time == memory.t_mem);
  CHECK(memory.bound == hbm);
  const sim::OpCost compute = cost_of(model, op_of(OpKind::gemm, 10e12, 0, 0.03e12, 0.01e12));
  CHECK(compute.t_math == doctest::Approx(0.1));
  CHECK(compute.time == compute.t_math);
  CHECK(compute.bound == sim::bound_compute);
  CHECK_FALSE(compute.assumed);
}

TEST_CASE("cost: operators fused into one kernel overlap within it; each is charged what it adds") {
  const Machine machine = two_levels();
  const CostModel model(machine, in_main(machine));
  LoweredOp product = op_of(OpKind::gemm, 10e12, 0, 0.02e12, 0), activation = op_of(OpKind::activation, 0.01e12, 0.01e12, 0, 0.03e12);
  activation.fused = true;
  std::vector<LoweredOp> ops{product, activation, activation, activation, product};
  Costs costs;
  model.evaluate(ops, costs);
  CHECK(costs.ops[0].time == doctest::Approx(0.1));   // arithmetic; its operands take 0.02
  CHECK(costs.ops[1].time == doctest::Approx(0));     // 0.05 of memory so far, hidden
  CHECK(costs.ops[1].t_mem == doctest::Approx(0.03));
  CHECK(costs.ops[2].time == doctest::Approx(0));
  CHECK(costs.ops[3].time == doctest::Approx(0.01));  // 0.11 of memory: it shows
  CHECK(costs.ops[4].time == doctest::Approx(0.1));   // a kernel of its own
  ops[1].count = 7;  // another count: not the kernel before it
  model.evaluate(ops, costs);
  CHECK(costs.ops[1].time == doctest::Approx(0.03));
  for (const sim::OpCost& cost : costs.ops) CHECK(cost.roofline == cost.time);
}

TEST_CASE("cost: on the ridge memory holds it back; an operator that does nothing takes no time") {
  const Machine machine = two_levels();
  const CostModel model(machine, in_main(machine));
  const sim::OpCost ridge = cost_of(model, op_of(OpKind::gemm, 100e12, 0, 1e12, 0));
  CHECK(ridge.t_math == ridge.t_mem);
  CHECK(ridge.bound == hbm);
  const sim::OpCost nothing = cost_of(model, op_of(OpKind::embedding, 0, 0, 0, 0));
  CHECK(nothing.time == 0);
  CHECK(nothing.bound == sim::bound_compute);
}

TEST_CASE("cost: an inner level bounds what it is slowest for") {
  SmallChip small;
  small.memory.push_back({.level = "L2", .bandwidth = BytesPerSecond{0.5e12}});
  const Machine machine = sim::make_machine(chip_of(small), {}, "");
  const sim::OpCost cost = cost_of(CostModel(machine, in_main(machine)), op_of(OpKind::gemm, 1, 0, 1e12, 0));
  CHECK(cost.bound == l2);
  CHECK(cost.time == doctest::Approx(2.0));
}

TEST_CASE("cost: a level without a bandwidth counts bytes and takes no time") {
  SmallChip small;
  small.memory.push_back({.level = "L2"});
  const Machine machine = sim::make_machine(chip_of(small), {}, "");
  Costs costs;
  const LoweredOp op = op_of(OpKind::gemm, 1, 0, 1e12, 0);
  CostModel(machine, in_main(machine)).evaluate({&op, 1}, costs);
  CHECK(costs.level_bytes == std::vector<double>{1e12, 1e12});
  CHECK(costs.ops[0].t_mem == doctest::Approx(1.0));
}

TEST_CASE("cost: vector work beside a matrix product counts where it is longer; alone it is all there is") {
  const Machine machine = two_levels();
  const CostModel model(machine, in_main(machine));
  CHECK(cost_of(model, op_of(OpKind::attention, 1e12, 0.001e12, 1, 0)).t_math == doctest::Approx(0.01));
  CHECK(cost_of(model, op_of(OpKind::attention, 1e12, 0.5e12, 1, 0)).t_math == doctest::Approx(0.5));
  CHECK(cost_of(model, op_of(OpKind::softmax, 0.5e12, 0.5e12, 1, 0)).t_math == doctest::Approx(0.5));
  CHECK(cost_of(model, op_of(OpKind::embedding, 0, 0, 1e12, 0)).t_math == 0);
}

TEST_CASE("cost: skipped zeros make the marked operators faster, in the pattern the unit knows") {
  hw::Chip chip = chip_of({});
  chip.compute[0].sparsity = {{"2:4", 2.0}};
  const Machine machine = sim::make_machine(chip, {}, "2:4");
  const CostModel model(machine, in_main(machine));
  LoweredOp op = op_of(OpKind::gemm, 100e12, 0, 1, 0);
  CHECK(cost_of(model, op).time == doctest::Approx(1.0));
  op.sparse_weights = true;
  CHECK(cost_of(model, op).time == doctest::Approx(0.5));
  // Every fourth is at most two of four; four of eight may be four neighbours.
  for (const auto& [pattern, time] : {std::pair{"1:4", 0.5}, {"1:2", 0.5}, {"4:8", 1.0}, {"3:4", 1.0}, {"", 1.0}}) {
    const Machine other = sim::make_machine(chip, {}, pattern);
    CHECK_MESSAGE(cost_of(CostModel(other, in_main(other)), op).time == doctest::Approx(time), pattern);
  }
}

TEST_CASE("cost: shares split the bytes of a role between tiers, other roles stay") {
  SmallChip small;
  hw::Chip chip = chip_of(small);
  chip.host_memory = {{.level = "DRAM", .bandwidth = BytesPerSecond{0.05e12}}};
  const Machine machine = sim::make_machine(chip, {.weights = {"HBM", "DRAM"}}, "");
  sim::Shares shares = in_main(machine);
  shares[static_cast<std::size_t>(Role::weight)] = {0.2, 0.8};
  const LoweredOp op = op_of(OpKind::gemm, 1, 0, 1e12, 1e12);
  Costs costs;
  CostModel(machine, shares).evaluate({&op, 1}, costs);
  CHECK(costs.level_bytes[0] == doctest::Approx(0.2e12));  // from DRAM
  CHECK(costs.level_bytes[1] == doctest::Approx(2e12));    // all of it crosses HBM, activations too
  CHECK(costs.ops[0].t_mem == doctest::Approx(4.0));  // 0.2 TB through the link
  CHECK(costs.ops[0].bound == 0);
}

TEST_CASE("cost: an assumed efficiency divides the time of its kind only") {
  const Machine machine = two_levels();
  const std::vector<std::pair<std::string, double>> assume{{"gemm", 0.5}};
  const CostModel plain(machine, in_main(machine)), assumed(machine, in_main(machine), assume);
  const LoweredOp gemm = op_of(OpKind::gemm, 1e12, 0, 0.04e12, 0), norm = op_of(OpKind::rms_norm, 1e9, 1e9, 1e9, 1e9);
  CHECK(cost_of(assumed, gemm).time == doctest::Approx(2 * cost_of(plain, gemm).time));
  CHECK(cost_of(assumed, gemm).t_mem == cost_of(plain, gemm).t_mem);
  CHECK(cost_of(assumed, gemm).assumed);
  CHECK(cost_of(assumed, norm).time == cost_of(plain, norm).time);
  CHECK_FALSE(cost_of(assumed, norm).assumed);
}

TEST_CASE("cost: the total counts every execution, and scratch is reused") {
  const Machine machine = two_levels();
  const CostModel model(machine, in_main(machine));
  std::vector<LoweredOp> ops{op_of(OpKind::gemm, 1e12, 0, 0.04e12, 0), op_of(OpKind::rms_norm, 1e9, 1e9, 0.01e12, 0)};
  ops[0].count = 3;
  Costs scratch;
  scratch.ops.resize(50);
  CHECK(model.total_time(ops, scratch) == doctest::Approx(3 * 0.04 + 0.01));
  CHECK(scratch.ops.size() == 2);
  CHECK(scratch.level_bytes.size() == 4);
  CHECK(model.total_time({}, scratch) == 0);
}

TEST_CASE("cost: Llama-3.1-8B's query, key and value projection on an H100, by hand") {
  const sim::Estimate e = estimate_of("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 8192}\n");
  const sim::OpEstimate& qkv = op_named(e.phases[0], "attn.qkv");
  const double weights = 2.0 * 6144 * 4096, in = 2.0 * 32 * 4096, out = 2.0 * 32 * 6144;
  CHECK(qkv.count == 32);
  CHECK(qkv.flops.value == 2.0 * 32 * 6144 * 4096);
  CHECK(qkv.levels[0].bytes.value == weights + in + out);
  CHECK(qkv.intensity.value == doctest::Approx(2.0 * 32 * 6144 * 4096 / (weights + in + out)));
  CHECK(qkv.t_math.value == doctest::Approx(2.0 * 32 * 6144 * 4096 / 989e12));
  CHECK(qkv.t_mem.value == doctest::Approx((weights + in + out) / 3.35e12));
  CHECK(qkv.time.value == qkv.t_mem.value);
  CHECK(qkv.bound == "HBM");
  CHECK(qkv.kind == "gemm");
  // Each sequence's keys and values of 8 heads x 128, once, for all 32 query heads.
  const sim::OpEstimate& core = op_named(e.phases[0], "attn.core");
  CHECK(core.flops.value == 4.0 * 32 * 32 * 8192 * 128);
  CHECK(core.kept_bytes.value == 2.0 * 32 * 8192 * 2 * 8 * 128);
  CHECK(op_named(e.phases[0], "lm_head").flops.value == 2.0 * 32 * 128256 * 4096);
}
