// A training step executed: gradients are slopes of the loss, whatever is recomputed, sharded or cut into micro-batches.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "kernels/weights/weights.hpp"
#include "models/backward.hpp"
#include "tests/laws/executor_support.hpp"
#include "tests/laws/random_executable.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using kernels::Executor;

namespace {

/// Norms with a large epsilon: rows of one or two elements are steep.
kernels::ExecutorOptions trains() { return {.norm_epsilon = 0.1, .count = false, .keep_weights = true}; }

ModelConfig trainable_model() {
  ModelConfig model = executable_model();
  model.vocab = std::clamp(model.vocab, 2.0, 40.0);
  model.hidden = std::min(model.hidden, 24.0);
  model.layers.resize(1);  // each kind of layer is met often enough
  if (model.layers[0].pattern.size() > 2) model.layers[0].pattern.resize(2);
  return model;
}

struct Passes {
  Graph forward, backward;
};

Passes passes(const ModelConfig& model, const Step& step, const Sharding& sharding = {}, Recompute recompute = Recompute::none) {
  Graph forward = build(model, {model.dtype, {}, {}}, step, sharding);
  Graph back = backward(forward, recompute, {});
  return {std::move(forward), std::move(back)};
}

kernels::Trained trained(Executor<double>& executor, const Passes& passes, const Step& step, kernels::MicroBatch batch = {}) {
  const auto done = executor.train(passes.forward, passes.backward, step, batch);
  if (!done) RC_FAIL(render(done.error()));
  return *done;
}

Step training_step(double tokens = 0) {
  Step step{.sequences = draw(1, 3), .new_tokens = tokens > 0 ? tokens : draw(2, 8)};
  step.training = true;
  step.fused_attention = coin(), step.fused_experts = coin();
  return step;
}

double loss_of(Executor<double>& executor, const Graph& forward, const Step& step) {
  const auto done = executor.run(forward, step);
  if (!done) RC_FAIL(render(done.error()));
  return done->loss;
}

std::vector<double> random_direction(std::size_t n) {
  std::vector<double> direction(n);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  for (std::size_t i = 0; i < n; ++i) direction[i] = kernels::unit_value("direction", i, seed);
  return direction;
}

std::vector<double> times(std::vector<double> v, double factor) {
  for (double& x : v) x *= factor;
  return v;
}

/// Every gradient of one executor against those of another, as shares of the largest of all.
void check_same_gradients(const Executor<double>& one, const Executor<double>& other, double tolerance) {
  const auto expected = one.gradients(), found = other.gradients();
  double largest = 0;
  for (const auto& [name, values] : expected)
    for (double g : values) largest = std::max(largest, std::abs(g));
  RC_ASSERT(expected.size() == found.size());
  std::string apart;
  for (const auto& [name, a] : expected) {
    RC_ASSERT(found.contains(name));
    const std::vector<double>& b = found.at(name);
    RC_ASSERT(a.size() == b.size());
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    if (worst > tolerance * largest) apart += " " + name + " by " + std::to_string(worst / largest);
  }
  if (!apart.empty()) RC_FAIL("apart:" + apart);
}

}  // namespace

/// Central differences, twice and extrapolated: the error is of fourth order.
double slope_along(Executor<double>& executor, const std::string& name, const std::vector<double>& direction, const Graph& forward,
                   const Step& step) {
  const double h = 1e-4;
  std::vector<double> losses;
  for (double by : {2 * h, -h, -2 * h, -h}) {
    executor.nudge(name, times(direction, by));
    losses.push_back(loss_of(executor, forward, step));
  }
  executor.nudge(name, times(direction, 2 * h));
  return (8 * (losses[1] - losses[2]) - (losses[0] - losses[3])) / (12 * h);
}

TEST_CASE("law: gradients are the slopes of the loss") {
  CHECK(rc::check("in a random direction of one weight after the other", [] {
    const ModelConfig model = trainable_model();
    const Step step = training_step();
    const Passes both = passes(model, step);
    Executor<double> executor(model, {}, trains());
    trained(executor, both, step);
    RC_LOG() << describe(model, step);
    for (const auto& [name, gradient] : executor.gradients()) {
      const auto direction = random_direction(gradient.size());
      double slope = 0, size = 0;
      for (std::size_t i = 0; i < gradient.size(); ++i) slope += gradient[i] * direction[i], size += std::abs(gradient[i] * direction[i]);
      const double found = slope_along(executor, name, direction, both.forward, step);
      RC_LOG() << name << ": " << slope << " and " << found << ", size " << size << "\n";
      if (std::abs(slope - found) > 1e-6 * size + 1e-8) RC_ASSERT(crosses_a_kink(model));
    }
  }));
}

TEST_CASE("law: recomputation changes no gradient") {
  CHECK(rc::check("full and selective, bit for bit", [] {
    const ModelConfig model = trainable_model();
    const Step step = training_step();
    Executor<double> none(model, {}, trains());
    trained(none, passes(model, step), step);
    for (Recompute recompute : {Recompute::full, Recompute::selective}) {
      Executor<double> other(model, {}, trains());
      trained(other, passes(model, step, {}, recompute), step);
      check_same_gradients(none, other, 0);
    }
  }));
}

TEST_CASE("law: micro-batches add up to the batch") {
  CHECK(rc::check("gradients and loss", [] {
    const ModelConfig model = trainable_model();
    Step step = training_step(), whole = step;
    const auto count = static_cast<std::size_t>(draw(2, 3));
    whole.sequences = step.sequences * static_cast<double>(count);
    Executor<double> one(model, {}, trains()), many(model, {}, trains());
    const double loss = trained(one, passes(model, whole), whole).forward.loss;
    double mean = 0;
    for (std::size_t i = 0; i < count; ++i) mean += trained(many, passes(model, step), step, {i, count}).forward.loss;
    RC_ASSERT(std::abs(mean / static_cast<double>(count) - loss) <= 1e-12 * std::abs(loss));
    check_same_gradients(one, many, 1e-11);
  }));
}

TEST_CASE("law: the backward pass does the FLOPs and touches the elements of the operator table") {
  CHECK(rc::check("every kind of layer, whatever is recomputed", [] {
    const ModelConfig model = trainable_model();
    const Step step = training_step();
    const Passes both = passes(model, step, {}, one_of<Recompute>({Recompute::none, Recompute::full, Recompute::selective}));
    Executor<double> executor(model, {}, {.keep_weights = true});
    check_counted(both.backward, trained(executor, both, step).backward);
  }));
}

TEST_CASE("law: sharded gradients are the unsharded ones") {
  auto check = [](const ModelConfig& model, Step step, const Sharding& sharding) {
    Step all = step;
    all.sequences *= sharding.data;
    Executor<double> one(model, {}, trains()), many(model, sharding, trains());
    const double loss = trained(one, passes(model, all), all).forward.loss;
    const Recompute recompute = one_of<Recompute>({Recompute::none, Recompute::full});
    RC_LOG() << "recompute " << static_cast<int>(recompute) << "\n";
    const double cut = trained(many, passes(model, step, sharding, recompute), step).forward.loss;
    RC_LOG() << describe(model, step, sharding);
    RC_ASSERT(std::abs(cut - loss) <= 1e-12 * std::abs(loss));
    check_same_gradients(one, many, 1e-11);
  };
  CHECK(rc::check("data", [&] { check(trainable_model(), training_step(), {.data = draw(2, 3)}); }));
  CHECK(rc::check("tensor, with and without sequence parallelism", [&] {
    check(divisible_model(), training_step(4), {.tensor = one_of<double>({2, 4}), .sequence = coin()});
  }));
  CHECK(rc::check("experts over data ranks", [&] {
    const double ranks = one_of<double>({2, 4});
    check(divisible_model(), training_step(4), {.data = ranks, .expert = ranks});
  }));
}

TEST_CASE("law: an optimizer's step is the same for all shards, and lowers the loss") {
  CHECK(rc::check("ZeRO over data ranks", [] {
    const ModelConfig model = trainable_model();
    const Step step = training_step();
    const Sharding data{.data = 2};
    const Passes both = passes(model, step, data);
    const Graph optimizer = optimizer_step(both.forward, {}, 1, 1);
    std::vector<std::unique_ptr<Executor<double>>> executors;
    std::vector<double> losses;
    for (std::size_t shards : {1, 2}) {
      executors.push_back(std::make_unique<Executor<double>>(model, data, trains()));
      double first = 0, last = 0;
      for (int i = 0; i < 3; ++i) {
        last = trained(*executors.back(), both, step).forward.loss;
        if (i == 0) first = last;
        RC_ASSERT(executors.back()->update(optimizer, {.learning_rate = 1e-4}, shards).has_value());
      }
      RC_ASSERT(last < first);
      losses.push_back(last);
    }
    RC_ASSERT(losses[0] == losses[1]);
    RC_ASSERT(executors[0]->trained_weights() == executors[1]->trained_weights());
  }));
}

TEST_CASE("law: gradients of a cut context, other layouts and pipeline stages are the unsharded ones") {
  auto check = [](const ModelConfig& model, const Step& step, const Sharding& sharding, std::size_t stages = 1) {
    kernels::ExecutorOptions options = trains();
    options.pipeline = stages;
    Executor<double> one(model, {}, trains()), many(model, sharding, options);
    RC_LOG() << describe(model, step, sharding);
    const double loss = trained(one, passes(model, step), step).forward.loss;
    const Recompute recompute = one_of<Recompute>({Recompute::none, Recompute::full});
    RC_LOG() << "recompute " << static_cast<int>(recompute) << "\n";
    const double cut = trained(many, passes(model, step, sharding, recompute), step).forward.loss;
    RC_ASSERT(std::abs(cut - loss) <= 1e-12 * std::abs(loss));
    check_same_gradients(one, many, 1e-11);
  };
  auto context = [&](ContextExchange exchange) {
    ModelConfig model = divisible_model();
    if (exchange == ContextExchange::ulysses)
      for (LayerGroup& group : model.layers)
        for (LayerSpec& layer : group.pattern) RC_PRE(!layer.latent);
    Step step = training_step(8);
    step.sequences = 2;
    check(model, step, {.tensor = one_of<double>({1, 1, 2}), .context = 2, .exchange = exchange});
  };
  auto laid_out = [&](Layout layout) {
    ModelConfig model = divisible_model();
    model.hidden = 16 * draw(1, 3);
    Step step = training_step(4);
    step.sequences = 4;
    check(model, step, {.tensor = one_of<double>({2, 4}), .layout = layout});
  };
  CHECK(rc::check("ring", [&] { context(ContextExchange::ring); }));
  CHECK(rc::check("gathered keys", [&] { context(ContextExchange::all_gather); }));
  CHECK(rc::check("heads swapped for tokens", [&] { context(ContextExchange::ulysses); }));
  CHECK(rc::check("weights stationary in two dimensions", [&] { laid_out(Layout::weight_stationary_2d); }));
  CHECK(rc::check("weights gathered", [&] { laid_out(Layout::weight_gathered); }));
  CHECK(rc::check("pipeline", [&] { check(divisible_model(), training_step(4), {}, 2); }));
}
