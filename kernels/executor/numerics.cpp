// Which tensor is rounded how, and when; the rounding itself is kernels/numerics/quantise.hpp, masks are kernels/numerics/sparsity.hpp.
#include "kernels/executor/numerics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/executor/op_run.hpp"
#include "kernels/numerics/error.hpp"
#include "kernels/numerics/quantise.hpp"
#include "kernels/numerics/sparsity.hpp"

namespace gambrel::kernels {
namespace {

using models::Op;
using models::OpKind;
using models::Role;
using models::Tensor;
using Structure = models::WeightSparsity::Structure;

constexpr int large_block = 128;  ///< where sparsity in blocks names no side (tiles of matrix units)

bool is_weight(const Tensor& tensor) { return tensor.role == Role::weight || tensor.role == Role::expert_weight; }

/// A matrix that is multiplied with, biases of experts are not.
bool is_matrix(const Tensor& tensor) {
  return is_weight(tensor) && tensor.shape.size() > 1 && !tensor.name.ends_with(".bias");
}

bool prunable(const Op& op, const Tensor& tensor) {
  return is_matrix(tensor) && op.part == models::ModelPart::layers && !tensor.name.ends_with("moe.router.weight");
}

std::int64_t columns_of(const Tensor& tensor) { return std::llround(tensor.shape.back()); }

/// Elements that are rounded and pruned by themselves: an expert's matrix, else all of them.
std::size_t part_size(const Tensor& tensor, std::size_t elements) {
  return is_weight(tensor) && tensor.shape.size() == 3 ? elements / whole(tensor.shape[0]) : elements;
}

/// f(part) for each of them.
template <class F>
void each_part(const Tensor& tensor, std::span<float> values, F f) {
  const std::size_t size = part_size(tensor, values.size());
  for (std::size_t at = 0; at < values.size(); at += size) f(values.subspan(at, size));
}

void prune(std::span<float> values, std::int64_t columns, const models::WeightSparsity& sparsity) {
  const auto rows = static_cast<std::int64_t>(values.size()) / columns;
  const int side = sparsity.block > 0 ? sparsity.block : large_block;
  switch (sparsity.structure) {
    case Structure::none: return;
    case Structure::n_of_m: return apply_sparsity(values, rows, columns, sparsity.n, sparsity.m);
    case Structure::unstructured: return apply_mask(values, unstructured_mask(values, sparsity.density));
    case Structure::block: return apply_mask(values, block_mask(values, rows, columns, side, side, sparsity.density));
  }
}

bool is_exact(const DataType& type) {
  return type.format == Format::fp32 || type.format == Format::fp64 || type.format == Format::int32;
}

/// The path that precisions are looked up by: "layers.3.attn.qkv" of "layers.3-31.attn.qkv".
std::string policy_path(const Op& op) {
  if (op.part != models::ModelPart::layers) return op.name;
  return fmt::format("layers.{}.{}", op.first_layer, op.name.substr(op.name.find('.', op.name.find('.') + 1) + 1));
}

double cache_block_of(const models::LayerSpec* spec) { return spec && spec->attention ? spec->attention->head_dim : 0; }

void add_statistics(WeightStatistics& sum, std::span<const float> drawn, std::span<const float> executed) {
  const double error = relative_error(drawn, executed), elements = static_cast<double>(drawn.size());
  sum.noise += elements * error * error;
  sum.kept += elements - static_cast<double>(std::ranges::count(executed, 0.0F));
  sum.elements += elements;
}

}  // namespace

DataType executed_type(DataType type, Role role, double cache_block) {
  if (type.scale.per != Scale::Per::none) return type;
  const bool cache = role == Role::kv_cache || role == Role::state;
  const bool fp8 = type.format == Format::fp8_e4m3 || type.format == Format::fp8_e5m2;
  if (fp8 && !cache) type.scale = {Scale::Per::tensor, 0, 0, Format::fp32};
  if (fp8) return type;
  type = with_executable_scale(type);
  if (cache && cache_block > 0 && type.scale.per == Scale::Per::channel)
    type.scale = {Scale::Per::block, 1, static_cast<std::int32_t>(cache_block), Format::fp32};
  return type;
}

void Numerics::round(const Tensor& tensor, const models::LayerSpec* spec, std::span<float> values) const {
  const DataType type = executed_type(tensor.type, tensor.role, cache_block_of(spec));
  if (!settings_.rounds || is_exact(type) || values.empty()) return;
  const std::int64_t columns = columns_of(tensor);
  each_part(tensor, values, [&](std::span<float> part) {
    round_in_place(part, static_cast<std::int64_t>(part.size()) / columns, columns, type);
  });
}

std::vector<float> Numerics::weight(std::string_view name, const Op& op, const Tensor& tensor,
                                    const std::function<std::vector<float>()>& draw) const {
  if (const auto held = kept_.find(name); held != kept_.end()) return held->second;
  const std::vector<float> drawn = draw();
  if (!settings_.rounds) return drawn;
  std::vector<float> values = drawn;
  if (prunable(op, tensor))
    each_part(tensor, values, [&](std::span<float> part) { prune(part, columns_of(tensor), settings_.sparsity); });
  round(tensor, nullptr, values);
  if (is_matrix(tensor) && !tensor.looked_up) add_statistics(statistics_, drawn, values);
  if (settings_.keep_weights) kept_.emplace(name, values);
  return values;
}

void Numerics::drawn(const models::LayerSpec& spec, const Tensor& tensor, std::span<float> values) const {
  round(tensor, &spec, values);
}

// Of a cache the new rows only: what was rounded once stays.
void Numerics::results(std::string_view prefix, OpRun<float>& run) const {
  for (View<float>& view : run.writes) {
    Buffer<float>& buffer = view.buffer();
    const std::size_t sequence = run.total() * buffer.width, fresh = run.new_tokens() * buffer.width;
    if (run.op.kind == OpKind::kv_append) {
      for (std::size_t end = sequence; end <= buffer.data.size(); end += sequence)
        round(*view.tensor, run.spec, std::span(buffer.data).subspan(end - fresh, fresh));
    } else {
      round(*view.tensor, run.spec, buffer.data);
    }
    if (observer_) observer_({std::string(prefix) + std::string(run.path), run.op, *view.tensor, run.spec, buffer});
  }
}

void Numerics::probabilities(const Op& op, std::span<float> values) const {
  if (!settings_.rounds) return;
  const auto layout = element_layout(op.math);
  if (!layout || *layout == fp32_layout) return;
  for (float& value : values) value = static_cast<float>(rounded(value, *layout, usual_overflow(op.math)));
}

void Numerics::inner(const Op& op, std::span<float> values, std::size_t width) const {
  if (!settings_.rounds) return;
  const DataType type = executed_type(settings_.policy.at(policy_path(op)).activations, Role::activation);
  if (is_exact(type)) return;
  const auto columns = static_cast<std::int64_t>(width);
  round_in_place(values, static_cast<std::int64_t>(values.size()) / columns, columns, type);
}

std::optional<Accumulator> Numerics::accumulator(const Op& op) const {
  if (!settings_.rounds) return std::nullopt;
  if (settings_.accumulator) return settings_.accumulator;
  const auto layout = element_layout(settings_.policy.at(policy_path(op)).accumulate.format);
  if (!layout || *layout == fp32_layout) return std::nullopt;
  return Accumulator{.layout = *layout};
}

}  // namespace gambrel::kernels
