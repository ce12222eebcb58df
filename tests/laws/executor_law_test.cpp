// The executing reference path against the operator table and against itself: what is done is what is counted, and ways
// of computing the same thing agree.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "tests/laws/executor_support.hpp"
#include "tests/laws/random_executable.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using kernels::Execution;
using kernels::Executor;

namespace {

Step small_step() {
  Step step{.sequences = draw(1, 3), .new_tokens = draw(1, 12), .past_tokens = draw(0, 12)};
  step.logits = coin() ? 1 : step.new_tokens;
  step.fused_attention = coin(), step.fused_experts = coin();
  return step;
}

/// The last `n` rows of `rows` a sequence.
std::vector<double> last_rows(const Execution& run, std::size_t rows, std::size_t n) {
  std::vector<double> values;
  for (std::size_t row = 0; row < run.rows; ++row)
    if (row % rows >= rows - n)
      values.insert(values.end(), run.logits.begin() + row * run.vocabulary,
                    run.logits.begin() + (row + 1) * run.vocabulary);
  return values;
}

}  // namespace

TEST_CASE("law: the executor does the FLOPs and touches the elements of the operator table") {
  CHECK(rc::check("every kind of layer, unsharded", [] {
    const ModelConfig model = executable_model();
    Step step = small_step();
    step.training = step.past_tokens == 0 && coin();
    const Graph graph = plain_graph(model, step);
    check_counted(graph, executed(model, step));
  }));
}

TEST_CASE("law: prefill and then decode with the cache equal one full forward pass") {
  CHECK(rc::check("tokens one by one or several at once", [] {
    const ModelConfig model = executable_model();
    Step whole = small_step();
    whole.past_tokens = 0, whole.new_tokens = draw(2, 14), whole.logits = whole.new_tokens;
    for (const LayerGroup& group : model.layers)
      for (const LayerSpec& layer : group.pattern) RC_PRE(!layer.attention || layer.attention->causal);
    const Execution full = executed(model, whole);
    Executor<double> executor(model);
    Step part = whole;
    part.new_tokens = draw(1, static_cast<int>(whole.new_tokens) - 1);
    part.logits = 1;
    executed(executor, model, part);
    Execution last;
    for (part.past_tokens = part.new_tokens, part.new_tokens = 1; part.past_tokens < whole.new_tokens;
         ++part.past_tokens)
      last = executed(executor, model, part);
    RC_ASSERT(distance(last.logits, last_rows(full, static_cast<std::size_t>(whole.new_tokens), 1)) < 1e-12);
  }));
}

TEST_CASE("law: absorbed latent attention equals expanded, fused attention and experts equal the pieces") {
  CHECK(rc::check("one choice at a time", [] {
    ModelConfig model = executable_model();
    Step step = small_step();
    step.fused_attention = step.fused_experts = true;
    const Execution first = executed(model, step);
    Step pieces = step;
    pieces.fused_attention = false;
    RC_ASSERT(distance(executed(model, pieces).logits, first.logits) < 1e-12);
    pieces.fused_attention = true, pieces.fused_experts = false;
    RC_ASSERT(distance(executed(model, pieces).logits, first.logits) < 1e-12);
    for (Absorb absorb : {Absorb::always, Absorb::never}) {
      for (LayerGroup& group : model.layers)
        for (LayerSpec& layer : group.pattern)
          if (layer.latent) layer.latent->absorb = absorb;
      RC_ASSERT(distance(executed(model, step).logits, first.logits) < 1e-12);
      RC_ASSERT(distance(executed(model, pieces).logits, first.logits) < 1e-12);
    }
  }));
}

TEST_CASE("law: a model in equal layers equals the same model written out") {
  CHECK(rc::check("bit for bit", [] {
    const ModelConfig model = executable_model();
    const Step step = small_step();
    RC_ASSERT(distance(executed(written_out(model), step).logits, executed(model, step).logits) == 0);
  }));
}
