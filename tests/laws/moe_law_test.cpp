// Laws of the routed FFN's and the vector operators' models, for random chips, constants and calls: always an answer, never
// better than the roofline, never slower on better hardware or for less work; and what any routing must add up to.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "../unit/routed_ffn_support.hpp"
#include "random_draws.hpp"
#include "sim/kernel_models/attention_model.hpp"

namespace gambrel::sim {
namespace {

using Kind = models::Routing::Kind;

ChipFigures any_chip() {
  const double peak = magnitude(1e11, 1e17);
  ChipFigures chip = chip_with(peak, *rc::gen::arbitrary<bool>() ? peak * one_of_range(1, 4) : 0);
  chip.cores = one_of_range(1, 600);
  chip.bandwidth = magnitude(1e9, 1e14);
  chip.cache = *rc::gen::arbitrary<bool>() ? 0 : magnitude(1e3, 1e10);
  chip.cache_bandwidth = magnitude(1e10, 1e15);
  chip.vector_rate = magnitude(1e10, 1e15);
  return chip;
}

std::vector<double> any_values(const KernelModel& model) {
  std::vector<double> values;
  for (const Constant& c : model.constants) {
    const bool choice = c.search == Search::fixed && c.low == 0 && c.name != "launch_share";
    const double at = one_of_range(0, 100) / 100;
    const double value = choice ? one_of_range(0, static_cast<int>(c.high)) : c.search == Search::logarithmic ? c.low * std::pow(c.high / c.low, at) : c.low + (c.high - c.low) * at;
    values.push_back(value);
  }
  return values;
}

RoutedShape any_shape() {
  const double ranks = one_of_range(1, 32), experts = ranks * one_of_range(1, 16);
  return {.tokens = whole_magnitude(1, 1e6), .hidden = whole_magnitude(1, 2e4), .inner = whole_magnitude(1, 2e4), .top_k = one_of_range(1, static_cast<int>(std::min(experts, 16.0))),
          .experts = experts, .ranks = ranks, .routing = {*rc::gen::element(Kind::balanced, Kind::uniform, Kind::power_law), one_of_range(0, 30) / 10},
          .projections = one_of_range(2, 3)};
}

KernelCall any_routed_call() {
  const DataType activations = *rc::gen::element(Format::bf16, Format::fp8_e4m3, Format::fp32);
  return routed_call(any_shape(), activations, *rc::gen::element(Format::bf16, Format::fp8_e4m3, Format::int4, Format::mxfp4, Format::int8));
}

const KernelModel* any_vector_model() { return *rc::gen::element(&elementwise_model, &softmax_model, &layernorm_model, &gelu_model); }

KernelCall any_vector_call(const KernelModel& model) {
  using models::OpKind;
  const OpKind kind = *rc::gen::element(OpKind::elementwise, OpKind::rms_norm, OpKind::rotary, OpKind::embedding, OpKind::activation, OpKind::softmax);
  const DataType type = *rc::gen::element(Format::bf16, Format::fp32, Format::fp8_e4m3);
  return {.kind = model.kind, .op = models::single_vector(kind, whole_magnitude(1, 1e6), whole_magnitude(1, 1e6), one_of_range(1, 10), type), .activations = type};
}

/// One figure better by up to 8 times.
ChipFigures better(ChipFigures chip) {
  const double factor = 1 + one_of_range(0, 70) / 10;
  switch (*rc::gen::inRange(0, 6)) {
    case 0: chip.bandwidth *= factor; break;
    case 1: chip.clock *= factor; break;
    case 2: chip.cache = chip.cache * factor + 1e6; break;
    case 3: chip.cache_bandwidth *= factor; break;
    case 4: chip.vector_rate *= factor; break;
    default: for (double& peak : chip.peak) peak *= factor;
  }
  return chip;
}

constexpr double rounding = 1 + 1e-12;

TEST_CASE("law: a routed FFN takes a finite, positive time that is not below the roofline") {
  CHECK(rc::check("finite, positive, at least the floor", [] {
    const KernelCall call = any_routed_call();
    const ChipFigures chip = any_chip();
    const double seconds = moe_model.predict(call, chip, any_values(moe_model));
    RC_ASSERT(std::isfinite(seconds) && seconds > 0);
    return seconds >= roofline_floor(call, chip, chip.peak[static_cast<std::size_t>(call.op.math)]);
  }));
}

TEST_CASE("law: a routed FFN is never slower on better hardware") {
  CHECK(rc::check("monotonic in every rate and in the cache", [] {
    const KernelCall call = any_routed_call();
    const ChipFigures chip = any_chip();
    const auto values = any_values(moe_model);
    return moe_model.predict(call, better(chip), values) <= moe_model.predict(call, chip, values) * rounding;
  }));
}

TEST_CASE("law: wider experts and wider tokens never make a routed FFN faster") {
  CHECK(rc::check("monotonic in both widths", [] {
    const RoutedShape shape = any_shape();
    RoutedShape wider = shape;
    (*rc::gen::arbitrary<bool>() ? wider.hidden : wider.inner) += whole_magnitude(1, 1e4);
    const ChipFigures chip = any_chip();
    const auto values = any_values(moe_model);
    return moe_model.predict(routed_call(shape), chip, values) <= moe_model.predict(routed_call(wider), chip, values) * rounding;
  }));
}

TEST_CASE("law: where a rank has all experts, no rows of others can be computed along") {
  CHECK(rc::check("the same time", [] {
    RoutedShape shape = any_shape();
    shape.ranks = 1;
    const KernelCall call = routed_call(shape);
    const ChipFigures chip = any_chip();
    auto values = any_values(moe_model);
    RC_ASSERT(set(moe_model, values, "remote_to_first_expert", 1));
    const double with = moe_model.predict(call, chip, values);
    RC_ASSERT(set(moe_model, values, "remote_to_first_expert", 0));
    return moe_model.predict(call, chip, values) == with;
  }));
}

TEST_CASE("law: the rows of a rank add up") {
  CHECK(rc::check("rows, tiles, experts and tokens bound each other", [] {
    const RoutedShape s = any_shape();
    const ExpertLoad load = load_of(s);
    const double local = s.experts / s.ranks, all = s.tokens * s.top_k, slack = 1e-9 * all + 1e-9;
    for (const ExpertRows* rows : {&load.local, &load.first_takes_all}) {
      RC_ASSERT(rows->active <= local + 1e-9 && rows->active <= rows->rows + slack);
      for (int height : ExpertRows::heights) {
        const double tiles = rows->tiles(height);
        RC_ASSERT(tiles * height >= rows->rows - slack && tiles <= rows->rows / height + rows->active + slack);
      }
    }
    RC_ASSERT(load.local.rows <= all + slack && load.tokens <= s.tokens + slack && load.tokens <= load.local.rows + slack);
    RC_ASSERT(load.first_takes_all.rows >= load.local.rows - slack);
    return s.ranks > 1 || std::abs(load.local.rows - all) <= slack;
  }));
}

TEST_CASE("law: the busiest rank of a power law has at least its share, and a repeated question the same answer") {
  CHECK(rc::check("at least the mean", [] {
    RoutedShape s = any_shape();
    s.routing.kind = Kind::power_law;
    const ExpertLoad load = load_of(s);
    RC_ASSERT(load_of(s).local.rows == load.local.rows && load_of(s).tokens == load.tokens);
    return load.local.rows >= s.tokens * s.top_k / s.ranks - 1e-6;
  }));
}

TEST_CASE("law: vector operators take a finite, positive time that is not below the roofline") {
  CHECK(rc::check("finite, positive, at least the floor", [] {
    const KernelModel& model = *any_vector_model();
    const KernelCall call = any_vector_call(model);
    const ChipFigures chip = any_chip();
    const double seconds = model.predict(call, chip, any_values(model));
    RC_ASSERT(std::isfinite(seconds) && seconds > 0);
    return seconds >= call.op.work.vector_flops / chip.vector_rate && seconds >= roofline_floor(call, chip, chip.vector_rate);
  }));
}

TEST_CASE("law: vector operators are never slower on better hardware, nor for fewer rows") {
  CHECK(rc::check("monotonic in every rate and in the cache", [] {
    const KernelModel& model = *any_vector_model();
    const KernelCall call = any_vector_call(model);
    const ChipFigures chip = any_chip();
    const auto values = any_values(model);
    return model.predict(call, better(chip), values) <= model.predict(call, chip, values) * rounding;
  }));
  CHECK(rc::check("monotonic in the rows", [] {
    const KernelModel& model = *any_vector_model();
    const double rows = whole_magnitude(1, 1e5), width = whole_magnitude(1, 1e5);
    const auto call = [&](double m) { return KernelCall{.kind = model.kind, .op = models::single_vector(models::OpKind::rms_norm, m, width, 4, Format::bf16)}; };
    const ChipFigures chip = any_chip();
    const auto values = any_values(model);
    return model.predict(call(rows), chip, values) <= model.predict(call(rows + one_of_range(1, 1000)), chip, values) * rounding;
  }));
}

}  // namespace
}  // namespace gambrel::sim
