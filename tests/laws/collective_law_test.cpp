// Laws of the models of collectives and exchanges, for random links, constants and messages.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "../unit/collective_support.hpp"
#include "sim/kernel_models/collective_model.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;

double one_of_range(int low, int high) { return *rc::gen::inRange(low, high + 1); }
double magnitude(double low, double high) { return low * std::pow(high / low, one_of_range(0, 1000) / 1000); }

ChipFigures any_chip() { return chip_with_link(magnitude(1e9, 1e13), magnitude(2e8, 4e9)); }

std::vector<double> any_values(const KernelModel& model) {
  std::vector<double> values;
  for (const Constant& c : model.constants) {
    const double at = one_of_range(0, 100) / 100;
    values.push_back(c.search == Search::logarithmic ? c.low * std::pow(c.high / c.low, at) : c.low + (c.high - c.low) * at);
  }
  return values;
}

KernelCall any_collective() {
  const auto kind = *rc::gen::element(all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point);
  const DataType type = *rc::gen::element(Format::bf16, Format::int8, Format::fp8_e4m3, Format::fp32);
  return collective_call(kind, one_of_range(2, 72), std::round(magnitude(1, 1e12)), type, *rc::gen::arbitrary<bool>());
}

KernelCall any_exchange() {
  Exchange e{.hidden = std::round(magnitude(1, 1e5)), .tokens = std::round(magnitude(1, 1e6)), .nodes = one_of_range(1, 16)};
  e.experts = e.nodes * 8 * one_of_range(1, 64);
  e.top_k = std::min(e.experts, one_of_range(1, 64));
  e.cores = *rc::gen::arbitrary<bool>() ? 0 : one_of_range(1, 64);
  return exchange_call(*rc::gen::element(KernelKind::moe_dispatch, KernelKind::moe_combine), e);
}

KernelCall any_transfer() { return *rc::gen::arbitrary<bool>() ? any_collective() : any_exchange(); }

const KernelModel& model_for(const KernelCall& call) {
  if (call.kind == KernelKind::collective) return collective_model;
  return call.kind == KernelKind::moe_dispatch ? moe_dispatch_model : moe_combine_model;
}

TEST_CASE("law: transfers take a finite, positive time that is not below what the link allows") {
  CHECK(rc::check("finite, positive, at least the floor", [] {
    const KernelCall call = any_transfer();
    const ChipFigures chip = any_chip();
    const double seconds = model_for(call).predict(call, chip, any_values(model_for(call)));
    const double floor = transfer_floor(call, chip);
    RC_ASSERT(std::isfinite(seconds) && floor > 0);
    return seconds > 0 && seconds >= floor;
  }));
}

TEST_CASE("law: a transfer over one rank costs nothing") {
  CHECK(rc::check("0 over one rank", [] {
    KernelCall call = any_transfer();
    call.message.ranks = 1;
    const ChipFigures chip = any_chip();
    return model_for(call).predict(call, chip, any_values(model_for(call))) == 0 && transfer_floor(call, chip) == 0;
  }));
}

TEST_CASE("law: transfers are never slower over a faster link or at a higher clock") {
  CHECK(rc::check("monotonic in the link and the clock", [] {
    const KernelCall call = any_transfer();
    const ChipFigures chip = any_chip();
    ChipFigures better = chip;
    better.link *= one_of_range(10, 80) / 10;
    better.clock *= one_of_range(10, 80) / 10;
    const auto values = any_values(model_for(call));
    return model_for(call).predict(call, better, values) <= model_for(call).predict(call, chip, values) * (1 + 1e-12);
  }));
}

TEST_CASE("law: a larger message never takes less time, whatever protocol the library switches to") {
  CHECK(rc::check("monotonic in the bytes", [] {
    const KernelCall call = any_collective();
    KernelCall larger = call;
    larger.message.bytes *= magnitude(1.001, 100);
    const ChipFigures chip = any_chip();
    const auto values = any_values(collective_model);
    return collective_model.predict(call, chip, values) <= collective_model.predict(larger, chip, values) * (1 + 1e-12);
  }));
}

TEST_CASE("law: more tokens, wider tokens or more experts a token never make an exchange faster") {
  CHECK(rc::check("monotonic in tokens, width and top_k", [] {
    const KernelCall call = any_exchange();
    KernelCall more = call;
    more.message.tokens += one_of_range(0, 1000);
    more.message.hidden += one_of_range(0, 1000);
    more.message.top_k = std::min(more.message.experts, more.message.top_k + one_of_range(0, 8));
    const ChipFigures chip = any_chip();
    const auto values = any_values(model_for(call));
    return model_for(call).predict(call, chip, values) <= model_for(call).predict(more, chip, values) * (1 + 1e-12);
  }));
}

TEST_CASE("law: an all-reduce takes at least as long as each of its halves") {
  CHECK(rc::check("all_reduce >= reduce_scatter and all_gather", [] {
    KernelCall call = any_collective();
    call.message.custom = false;
    const ChipFigures chip = any_chip();
    const auto values = any_values(collective_model);
    const auto seconds = [&](CollectiveKind kind) {
      call.message.kind = kind;
      return collective_model.predict(call, chip, values);
    };
    const double whole = seconds(all_reduce), scatter = seconds(reduce_scatter), gather = seconds(all_gather);
    return whole >= scatter * (1 - 1e-12) && whole >= gather * (1 - 1e-12);
  }));
}

TEST_CASE("law: links k times as fast and latencies of a k-th make a k-th of the time") {
  CHECK(rc::check("scaling", [] {
    const KernelCall call = any_transfer();
    const KernelModel& model = model_for(call);
    const ChipFigures chip = any_chip();
    const double k = magnitude(0.1, 10);
    ChipFigures scaled = chip;
    scaled.link *= k;
    scaled.clock *= k;
    auto values = any_values(model), quick = values;
    for (std::size_t i = 0; i < quick.size(); ++i)
      if (model.constants[i].unit == "s") quick[i] /= k;
    const double seconds = model.predict(call, chip, values);
    return std::abs(model.predict(call, scaled, quick) * k / seconds - 1) < 1e-9;
  }));
}

}  // namespace
}  // namespace gambrel::sim
