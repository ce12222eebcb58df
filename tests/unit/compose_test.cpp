// A step composed from hand-made costs: sums that can be done in the head, and schedules drawn another way.
#include "sim/compose.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "network_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

constexpr int layers = 8;

/// Eight layers of 1 + 2 + 1 s and 100 parameters, an embedding and a head of 50 parameters each.
StepTemplate small_step() {
  StepTemplate step;
  step.layers = layers;
  PartCost layer;
  layer.forward = {.compute = 0.75, .network = 0.25, .hidden = 0.125};
  layer.backward_inputs = {.compute = 1.5, .network = 0.5, .hidden = 0.25};
  layer.backward_weights = {.compute = 1};
  layer.weights = 200, layer.dense_parameters = 100, layer.kv_cache = 7, layer.saved = 10;
  step.blocks = {{.first = 0, .step = 1, .count = layers, .layer = layer}};
  step.embedding.weights = step.head.weights = 100;
  step.embedding.dense_parameters = step.head.dense_parameters = 50;
  step.boundary = 16, step.working = 3;
  return step;
}

constexpr double layer_forward = 1, layer_backward = 3;

StepTime trained(const StepTemplate& step, const ParallelismPlan& plan, int microbatches, const Exchanges& exchanges = {}, const ParameterBytes& bytes = {}) {
  return compose_training(step, plan, microbatches, exchanges, bytes);
}

StageMemory kept(const StepTemplate& step, const ParallelismPlan& plan, int microbatches) {
  return training_memory(step, plan, microbatches, trained(step, plan, microbatches).pipeline, {});
}

double sum(const StepTimeline& t) { return t.compute.value + t.exposed_network.value + t.bubble.value + t.overhead.value; }

/// What `buckets` transfers on one stream leave exposed beside as many pieces of work on another; transfer i needs piece i
/// (`after_work`), or piece i needs transfer i.
double exposed_by_schedule(double transfer, double work, int buckets, bool after_work) {
  std::vector<Task> tasks;
  for (int i = 0; i < buckets; ++i) {
    const auto self = static_cast<std::uint32_t>(tasks.size());
    const Task piece{.name = "work", .stream = 0, .seconds = work / buckets}, sent{.name = "sent", .stream = 1, .seconds = transfer / buckets};
    tasks.push_back(after_work ? piece : sent);
    tasks.push_back(after_work ? sent : piece);
    tasks.back().after = {self};
  }
  return schedule(tasks).seconds - work;
}

}  // namespace

TEST_CASE("compose: one micro-batch on one stage is its passes one after the other, then the optimizer") {
  const StepTime time = trained(small_step(), {}, 1, {.optimizer_per_parameter = 0.01, .optimizer_launch = 2, .host = 5});
  CHECK(time.pipeline.seconds == doctest::Approx(layers * (layer_forward + layer_backward)));
  CHECK(time.seconds == doctest::Approx(layers * 4 + 2 + 0.01 * 900 + 5));
  CHECK(time.parts.compute.value == doctest::Approx(layers * 3.25 + 11));
  CHECK(time.parts.exposed_network.value == doctest::Approx(layers * 0.75));
  CHECK(time.parts.overlap.value == doctest::Approx(layers * 0.375));
  CHECK(time.parts.bubble.value == doctest::Approx(0));
  CHECK(time.parts.overhead.value == 5);
}

TEST_CASE("compose: more micro-batches on one stage are as many times the passes, with one optimizer") {
  const Exchanges e{.optimizer_per_parameter = 0.01};
  CHECK(trained(small_step(), {}, 5, e).seconds == doctest::Approx(5 * layers * 4 + 9));
}

TEST_CASE("compose: 1F1B of equal stages is (m + p - 1) passes") {
  StepTemplate step = small_step();
  const ParallelismPlan plan{.pipeline = 4};
  const StepTime time = trained(step, plan, 10);
  CHECK(time.seconds == doctest::Approx((10 + 4 - 1) * 2 * (layer_forward + layer_backward)));
  CHECK(time.parts.bubble.value == doctest::Approx(3 * 2 * 4));
  CHECK(time.shape.stages == 4);
  CHECK(time.shape.work.size() == 4);
  CHECK(time.tails.size() == 4);
}

TEST_CASE("compose: the parts of the timeline sum to the step, whatever the plan") {
  const Exchanges e{.boundary = {.latency = 0.1, .per_byte = 0.01}, .dense_reduce = {1, 0.01}, .dense_gather = {0.5, 0.02}, .tied = {0.25, 0.001}, .optimizer_per_parameter = 0.01, .host = 0.5};
  for (const Schedule schedule : {Schedule::gpipe, Schedule::one_forward_one_backward, Schedule::zero_bubble, Schedule::interleaved})
    for (int pipeline : {1, 2, 4})
      for (int zero = 0; zero <= 3; ++zero)
        for (const bool overlap : {false, true}) {
          if (schedule == Schedule::interleaved && pipeline == 1) continue;
          const ParallelismPlan plan{.data = 4, .pipeline = pipeline, .zero = zero, .schedule = schedule, .interleave = schedule == Schedule::interleaved ? 2 : 1, .overlap_gradients = overlap, .overlap_weights = overlap};
          const StepTime time = trained(small_step(), plan, 8, e);
          CAPTURE(describe(plan));
          CHECK(sum(time.parts) == doctest::Approx(time.seconds));
          CHECK(time.parts.bubble.value >= 0);
          CHECK(time.seconds >= 8 * layers / pipeline * (layer_forward + layer_backward));
        }
}

TEST_CASE("compose: what is exposed of the gradients' reduction is what two streams leave of a bucket a layer") {
  for (const double reduction : {0.01, 1.0, 20.0, 24.0, 30.0, 1000.0}) {
    const StepTime time = trained(small_step(), {.data = 2}, 3, {.dense_reduce = {.latency = reduction}});
    CHECK(time.tails[0].reduction == doctest::Approx(exposed_by_schedule(reduction, layers * layer_backward, layers, true)));
    const double hidden = time.parts.overlap.value - 3 * layers * 0.375;
    CHECK(time.tails[0].reduction + hidden == doctest::Approx(reduction));
    const StepTime after = trained(small_step(), {.data = 2, .overlap_gradients = false}, 3, {.dense_reduce = {.latency = reduction}});
    CHECK(after.tails[0].reduction == doctest::Approx(reduction));
  }
}

TEST_CASE("compose: what is exposed of ZeRO-3's gathering is what two streams leave of a transfer a layer") {
  for (const double gather : {0.01, 1.0, 7.0, 8.0, 9.0, 100.0}) {
    StepTemplate step = small_step();
    step.embedding.dense_parameters = step.head.dense_parameters = 0;
    const ParallelismPlan plan{.data = 2, .zero = 3};
    const double before = trained(step, plan, 1).seconds;
    const double forward = exposed_by_schedule(gather, layers * layer_forward, layers, false), backward = exposed_by_schedule(gather, layers * layer_backward, layers, false);
    CHECK(trained(step, plan, 1, {.dense_gather = {.latency = gather / layers}}).seconds - before == doctest::Approx(forward + backward));
    const ParallelismPlan apart{.data = 2, .zero = 3, .overlap_weights = false};
    CHECK(trained(step, apart, 1, {.dense_gather = {.latency = gather / layers}}).seconds - before == doctest::Approx(2 * gather));
  }
}

TEST_CASE("compose: ZeRO-1 and 2 scatter gradients and gather weights once a step, ZeRO-3 in every micro-batch") {
  const Exchanges e{.dense_reduce = {.latency = 1}, .dense_gather = {.latency = 1}};
  const auto added = [&](int zero, int microbatches) {
    const ParallelismPlan plan{.data = 2, .zero = zero, .overlap_gradients = false, .overlap_weights = false};
    return trained(small_step(), plan, microbatches, e).seconds - trained(small_step(), plan, microbatches).seconds;
  };
  for (int microbatches : {1, 4}) {
    CHECK(added(0, microbatches) == doctest::Approx(1));
    CHECK(added(1, microbatches) == doctest::Approx(2));
    CHECK(added(2, microbatches) == doctest::Approx(2));
    CHECK(added(3, microbatches) == doctest::Approx(3.0 * layers * microbatches));
  }
}

TEST_CASE("compose: the optimizer of a sharded state updates its share, the others all they hold") {
  const Exchanges e{.optimizer_per_parameter = 1};
  for (int zero = 0; zero <= 3; ++zero) CHECK(trained(small_step(), {.context = 2, .data = 3, .zero = zero}, 1, e).tails[0].optimizer == doctest::Approx(zero == 0 ? 900 : 900.0 / 6));
  StepTemplate step = small_step();
  step.blocks[0].layer.expert_parameters = 1000;
  CHECK(trained(step, {.data = 6, .expert_data = 2, .zero = 1}, 1, e).tails[0].optimizer == doctest::Approx(900.0 / 6 + 8000.0 / 2));
}

TEST_CASE("compose: a tied table's gradients are exchanged by the first and the last stage alone") {
  StepTemplate step = small_step();
  step.tied_parameters = 50;
  const StepTime time = trained(step, {.pipeline = 4}, 4, {.tied = {.latency = 2}});
  for (int s = 0; s < 4; ++s) CHECK(time.tails[static_cast<std::size_t>(s)].reduction == (s == 0 || s == 3 ? 2 : 0));
  CHECK(trained(step, {}, 4, {.tied = {.latency = 2}}).tails[0].reduction == 0);
}

TEST_CASE("compose: a stage that is both ends keeps and updates a tied table once") {
  StepTemplate tied = small_step();
  tied.tied_bytes = 100;
  tied.tied_parameters = 50;
  CHECK(kept(tied, {}, 1).weights == layers * 200 + 100);
  CHECK(kept(tied, {}, 1).optimizer == 12 * 850);
  CHECK(trained(tied, {}, 1, {.optimizer_per_parameter = 1}).tails[0].optimizer == doctest::Approx(850));
  CHECK(kept(tied, {.pipeline = 2}, 1).weights == layers * 100 + 100);
  CHECK(inference_memory(tied, {}, 1).weights == layers * 200 + 100);
}

TEST_CASE("compose: the slowest tail ends the step") {
  StepTemplate step = small_step();
  step.head.dense_parameters = 1000;
  const StepTime time = trained(step, {.pipeline = 2}, 4, {.optimizer_per_parameter = 1});
  CHECK(time.tails[1].seconds() == doctest::Approx(1400));
  CHECK(time.seconds == doctest::Approx(time.pipeline.seconds + 1400));
}

TEST_CASE("compose: memory of training is that of the fullest stage") {
  // 16-bit weights 200, fp32 gradients 400 and 12 bytes of state a parameter; layers keep 10 bytes each in flight.
  const StageMemory one = kept(small_step(), {}, 4);
  CHECK(one.weights == layers * 200 + 200);
  CHECK(one.gradients == 4 * 900);
  CHECK(one.optimizer == 12 * 900);
  CHECK(one.activations == layers * 10 + 3);  // one micro-batch after the other
  CHECK(one.total() == one.weights + one.gradients + one.optimizer + one.activations);

  const StageMemory first = kept(small_step(), {.pipeline = 4}, 16);
  CHECK(first.stage == 0);                            // it keeps most micro-batches
  CHECK(first.activations == 4 * 2 * 10 + 3);
  CHECK(kept(small_step(), {.pipeline = 4}, 2).activations == 2 * 2 * 10 + 3);
  CHECK(kept(small_step(), {.pipeline = 4, .schedule = Schedule::gpipe}, 16).activations == 16 * 2 * 10 + 3);
  StepTemplate large = small_step();
  large.head.weights = 1e6;
  CHECK(kept(large, {.pipeline = 4}, 16).stage == 3);
}

TEST_CASE("compose: each ZeRO stage shares out one more thing") {
  const auto of = [](int zero) { return kept(small_step(), {.data = 4, .zero = zero}, 1); };
  CHECK(of(1).optimizer == of(0).optimizer / 4);
  CHECK(of(1).gradients == of(0).gradients);
  CHECK(of(2).gradients == of(0).gradients / 4);
  CHECK(of(2).weights == of(0).weights);
  CHECK(of(3).weights == of(0).weights / 4);
  CHECK(of(3).activations - of(2).activations == doctest::Approx(2 * 1800.0 / layers));  // two layers gathered
  for (int zero = 1; zero <= 2; ++zero) CHECK(of(zero).total() < of(zero - 1).total());
}

TEST_CASE("compose: prefill runs through the stages once and then at the slowest one's pace; decode waits for its own tokens") {
  StepTemplate step = small_step();
  step.head.forward.compute = 3;  // stages of 2, 2, 2, 5 s
  const ParallelismPlan plan{.pipeline = 4};
  const auto time = [&](int microbatches, bool autoregressive, const Exchanges& e = {}) { return compose_inference(step, plan, microbatches, e, autoregressive).seconds; };
  CHECK(time(1, false) == doctest::Approx(11));
  CHECK(time(3, false) == doctest::Approx(11 + 2 * 5));
  CHECK(time(1, true) == doctest::Approx(11));
  CHECK(time(2, true) == doctest::Approx(11));
  CHECK(time(4, true) == doctest::Approx(20));
  CHECK(time(1, false, {.boundary = {.latency = 0.5}, .host = 1}) == doctest::Approx(11 + 3 * 0.5 + 1));
  const StepTime whole = compose_inference(step, plan, 3, {.boundary = {.latency = 0.5}, .host = 1}, false);
  CHECK(sum(whole.parts) == doctest::Approx(whole.seconds));
}

TEST_CASE("compose: chunks of a stage take turns in inference too") {
  const StepTemplate step = small_step();
  for (const bool autoregressive : {false, true})
    for (int microbatches : {1, 2, 8}) {
      const ParallelismPlan whole{.pipeline = 2}, chunks{.pipeline = 2, .schedule = Schedule::interleaved, .interleave = 2};
      const auto seconds = [&](const ParallelismPlan& plan) { return compose_inference(step, plan, microbatches, {}, autoregressive).seconds; };
      CHECK(seconds(chunks) == doctest::Approx(seconds(whole)));
    }
}

TEST_CASE("compose: inference keeps weights, and the cache of every micro-batch") {
  const StepTemplate step = small_step();
  const StageMemory m = inference_memory(step, {.pipeline = 4}, 3);
  CHECK(m.weights == 500);  // two layers and the embedding
  CHECK(m.kv_cache == 3 * 2 * 7);
  CHECK(m.activations == 3);
  CHECK(m.gradients + m.optimizer == 0);
}

TEST_CASE("compose: a line through two sizes of a collective, nothing for one rank or no bytes") {
  const Network network = ideal({joined("link", hw::TopologyKind::ring, 8, 1e11)});
  const RankGroup all{8, 1};
  const Line through = line(network, CollectiveKind::all_reduce, 1e8, Format::bf16, all);
  for (const double bytes : {5e7, 1e8}) CHECK(through.seconds(bytes) == doctest::Approx(network.cost({CollectiveKind::all_reduce, bytes, Format::bf16}, all).seconds));
  CHECK(line(network, CollectiveKind::all_reduce, 1e8, Format::bf16, {1, 1}).seconds(1e8) == 0);
  CHECK(line(network, CollectiveKind::all_reduce, 0, Format::bf16, all).seconds(1e8) == 0);
  CHECK(Line{1, 2}.seconds(3) == 7);
  CHECK(Line{1, 2}.seconds(0) == 0);
}
