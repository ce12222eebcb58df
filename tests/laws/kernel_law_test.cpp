// Laws of the attention kernel models, for random chips, constants and calls: always an answer, never better than the
// roofline, never slower on better hardware.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "../unit/attention_support.hpp"
#include "random_draws.hpp"
#include "sim/kernel_models/attention_model.hpp"

namespace gambrel::sim {
namespace {

using models::AttentionShape;

ChipFigures any_chip() {
  const double peak = magnitude(1e11, 1e17);
  ChipFigures chip = chip_with(peak, *rc::gen::arbitrary<bool>() ? peak * one_of_range(1, 4) : 0);
  chip.cores = *rc::gen::arbitrary<bool>() ? one_of_range(1, 16) : one_of_range(1, 600);
  chip.clock = magnitude(2e8, 4e9);
  chip.bandwidth = magnitude(1e9, 1e14);
  chip.cache = *rc::gen::arbitrary<bool>() ? 0 : magnitude(1e3, 1e10);
  chip.cache_bandwidth = magnitude(1e10, 1e15);
  return chip;
}

const KernelModel* any_model() { return *rc::gen::element(&attention_prefill_model, &attention_decode_model, &mla_prefill_model, &mla_decode_model); }

std::vector<double> any_values(const KernelModel& model) {
  std::vector<double> values;
  for (const Constant& c : model.constants) {
    const bool choice = c.search == Search::fixed && c.low == 0 && c.high == 1;
    const double at = choice ? one_of_range(0, 1) : one_of_range(0, 100) / 100;
    values.push_back(c.search == Search::logarithmic ? c.low * std::pow(c.high / c.low, at) : c.low + (c.high - c.low) * at);
  }
  return values;
}

KernelCall any_call(const KernelModel& model) {
  const DataType q = *rc::gen::element(Format::bf16, Format::fp8_e4m3, Format::fp32);
  const DataType kv = *rc::gen::element(Format::bf16, Format::fp16, Format::fp8_e4m3, Format::int8, Format::nvfp4, Format::fp32);
  const bool decode = model.kind == KernelKind::attention_decode || model.kind == KernelKind::mla_decode;
  const bool latent = model.kind == KernelKind::mla_decode;
  AttentionShape shape{.batch = whole_magnitude(1, 4096), .kv_heads = latent ? 1 : one_of_range(1, 128), .latent = latent};
  shape.heads = shape.kv_heads * one_of_range(1, 64);
  shape.v_width = one_of_range(1, 512);
  shape.qk_width = latent ? shape.v_width + one_of_range(0, 64) : shape.v_width;
  shape.queries = decode ? one_of_range(1, 4) : whole_magnitude(1, 1e6);
  shape.past = *rc::gen::arbitrary<bool>() ? 0 : whole_magnitude(1, 1e6);
  if (!latent && *rc::gen::arbitrary<bool>()) shape.window = whole_magnitude(1, 1e5);
  return attention_call(model.kind, shape, q, kv);
}

/// One figure better by up to 8 times.
ChipFigures better(ChipFigures chip) {
  const double factor = 1 + one_of_range(0, 70) / 10;
  switch (*rc::gen::inRange(0, 5)) {
    case 0: chip.bandwidth *= factor; break;
    case 1: chip.clock *= factor; break;
    case 2: chip.cache = chip.cache * factor + 1e6; break;
    case 3: chip.cache_bandwidth *= factor; break;
    default: for (double& peak : chip.peak) peak *= factor;
  }
  return chip;
}

TEST_CASE("law: attention kernels take a finite, positive time that is not below the roofline") {
  CHECK(rc::check("finite, positive, at least the floor", [] {
    const KernelModel& model = *any_model();
    const KernelCall call = any_call(model);
    const ChipFigures chip = any_chip();
    const double seconds = model.predict(call, chip, any_values(model));
    const double floor = roofline_floor(call, chip, kv_path(call, chip).peak);
    RC_ASSERT(std::isfinite(seconds) && floor >= 0);
    return seconds > 0 && seconds >= floor;
  }));
}

TEST_CASE("law: attention kernels are never slower on better hardware") {
  CHECK(rc::check("monotonic in every rate and in the cache", [] {
    const KernelModel& model = *any_model();
    const KernelCall call = any_call(model);
    const ChipFigures chip = any_chip();
    const auto values = any_values(model);
    return model.predict(call, better(chip), values) <= model.predict(call, chip, values) * (1 + 1e-12);
  }));
}

TEST_CASE("law: more sequences never make an attention prefill faster") {
  CHECK(rc::check("monotonic in the batch", [] {
    const KernelModel& model = **rc::gen::element(&attention_prefill_model, &mla_prefill_model);
    AttentionShape shape{.batch = one_of_range(1, 300), .queries = whole_magnitude(1, 1e5), .heads = 16, .kv_heads = 4};
    AttentionShape larger = shape;
    larger.batch += one_of_range(1, 300);
    const ChipFigures chip = any_chip();
    const auto values = any_values(model);
    return model.predict(attention_call(model.kind, shape), chip, values) <= model.predict(attention_call(model.kind, larger), chip, values);
  }));
}

TEST_CASE("law: more tokens to attend to never make an attention prefill faster") {
  CHECK(rc::check("monotonic in the past", [] {
    const ChipFigures chip = any_chip();
    const auto values = any_values(attention_prefill_model);
    AttentionShape shape{.batch = one_of_range(1, 30), .queries = whole_magnitude(1, 1e5), .past = whole_magnitude(1, 1e5), .heads = 16, .kv_heads = 4};
    AttentionShape longer = shape;
    longer.past += whole_magnitude(1, 1e5);
    return attention_prefill_model.predict(prefill_call(shape), chip, values) <= attention_prefill_model.predict(prefill_call(longer), chip, values) * (1 + 1e-12);
  }));
}

}  // namespace
}  // namespace gambrel::sim
