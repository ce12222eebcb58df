// Whether a plan fits a model and a number of chips, and which chips each axis of its meshes joins.
#include "sim/plan/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gambrel::sim {
namespace {

using models::MeshAxis;
using Problem = std::optional<std::pair<std::string, std::string>>;

int size_of(const ParallelismPlan& plan, MeshAxis axis) {
  const int sizes[models::mesh_axis_count] = {plan.tensor, plan.context, plan.data, plan.pipeline, plan.expert_tensor, plan.expert, plan.expert_data};
  return sizes[static_cast<int>(axis)];
}

using Size = int ParallelismPlan::*;

/// A size that the model cannot be cut by; one that can divides `extent`.
struct Misfit {
  std::string message;
  Size axis;
  double extent;
};

std::optional<Misfit> must_divide(Size axis, std::string_view name, int ranks, double extent, std::string_view what) {
  if (std::fmod(extent, ranks) == 0) return {};
  return Misfit{fmt::format("{} {} does not divide {} {}", name, ranks, extent, what), axis, extent};
}

/// Heads go to tensor ranks, and those of state spaces and of the Ulysses exchange to the context ranks as well.
std::optional<Misfit> heads_misfit(const ParallelismPlan& plan, double heads, std::string_view what, bool to_context) {
  if (auto m = must_divide(&ParallelismPlan::tensor, "tensor", plan.tensor, heads, what)) return m;
  if (!to_context) return {};
  return must_divide(&ParallelismPlan::context, "context", plan.context, heads / plan.tensor, fmt::format("{} of one tensor rank", what));
}

/// Fewer key/value heads (or groups of state spaces) than ranks are copied, but evenly.
std::optional<Misfit> copies_misfit(int tensor, double heads, double shared, std::string_view what) {
  if (std::fmod(shared, tensor) == 0 || std::fmod(tensor, shared) == 0) return {};
  return Misfit{fmt::format("tensor {} and {} {} do not divide each other", tensor, shared, what), &ParallelismPlan::tensor, heads};
}

std::optional<Misfit> mixer_misfit(const ParallelismPlan& plan, const models::LayerSpec& layer) {
  if (layer.attention) {
    const bool swapped = plan.exchange == models::ContextExchange::ulysses;
    if (auto m = heads_misfit(plan, layer.attention->heads, "attention heads", swapped)) return m;
    return copies_misfit(plan.tensor, layer.attention->heads, layer.attention->kv_heads, "key/value heads");
  }
  if (layer.latent) return heads_misfit(plan, layer.latent->heads, "attention heads", false);
  if (!layer.mamba) return {};
  if (auto m = heads_misfit(plan, layer.mamba->heads, "state-space heads", true)) return m;
  return copies_misfit(plan.tensor, layer.mamba->heads, layer.mamba->groups, "groups of state spaces");
}

std::optional<Misfit> ffn_misfit(const ParallelismPlan& plan, const models::LayerSpec& layer) {
  constexpr Size tensor = &ParallelismPlan::tensor;
  if (layer.dense)
    if (auto m = must_divide(tensor, "tensor", plan.tensor, layer.dense->inner, "columns of the feed-forward layer")) return m;
  if (!layer.moe) return {};
  if (auto m = must_divide(&ParallelismPlan::expert, "expert", plan.expert, layer.moe->experts(), "experts")) return m;
  for (const models::ExpertSize& size : layer.moe->sizes)
    if (auto m = must_divide(&ParallelismPlan::expert_tensor, "expert_tensor", plan.expert_tensor, size.inner, "columns of an expert")) return m;
  if (layer.moe->shared_inner > 0) return must_divide(tensor, "tensor", plan.tensor, layer.moe->shared_inner, "columns of the shared expert");
  return {};
}

std::optional<Misfit> misfit(const ParallelismPlan& plan, const models::ModelConfig& model) {
  if (plan.layout == models::Layout::weight_stationary_2d)
    if (auto m = must_divide(&ParallelismPlan::tensor, "tensor", plan.tensor, model.hidden, "elements of the residual stream")) return m;
  for (const models::LayerGroup& group : model.layers)
    for (const models::LayerSpec& layer : group.pattern) {
      if (auto m = mixer_misfit(plan, layer)) return m;
      if (auto m = ffn_misfit(plan, layer)) return m;
    }
  return {};
}

std::string_view name_of(Size axis) {
  return axis == &ParallelismPlan::tensor ? "tensor" : axis == &ParallelismPlan::context ? "context" : axis == &ParallelismPlan::expert ? "expert" : "expert_tensor";
}

/// Sizes of that axis that the model can be cut by: "tensor could be 1, 2, 4".
std::string what_fits(ParallelismPlan plan, const models::ModelConfig& model, const Misfit& wrong) {
  std::vector<int> sizes;
  for (int size = 1; size <= std::min(wrong.extent, 1e6) && sizes.size() < 12; ++size) {
    if (std::fmod(wrong.extent, size) != 0) continue;
    plan.*wrong.axis = size;
    const auto still = misfit(plan, model);
    if (!still || still->axis != wrong.axis) sizes.push_back(size);
  }
  return fmt::format("{} could be {}", name_of(wrong.axis), fmt::join(sizes, ", "));
}

/// What each axis alone would have to be for the product to be right.
std::string what_multiplies(const ParallelismPlan& plan, const std::vector<MeshAxis>& axes, double product, int chips) {
  std::vector<std::string> ways;
  for (MeshAxis axis : axes)
    if (const double wanted = chips * size_of(plan, axis) / product; wanted >= 1 && std::fmod(wanted, 1) == 0) ways.push_back(fmt::format("{} {}", to_string(axis), wanted));
  return ways.empty() ? fmt::format("each axis and the product of any of them must divide {}", chips) : fmt::format("{} would fit", fmt::join(ways, ", or "));
}

Problem mesh_problem(const ParallelismPlan& plan, const std::vector<MeshAxis>& axes, int chips) {
  double product = 1;
  for (MeshAxis axis : axes) product *= size_of(plan, axis);
  if (product == chips) return {};
  std::vector<std::string> factors;
  for (MeshAxis axis : axes) factors.push_back(fmt::format("{} {}", to_string(axis), size_of(plan, axis)));
  return std::pair{fmt::format("{} = {} chips, not {}", fmt::join(factors, " x "), product, chips), what_multiplies(plan, axes, product, chips)};
}

Problem schedule_problem(const ParallelismPlan& plan, int layers) {
  const double chunks = double(plan.pipeline) * plan.interleave;
  if (chunks > layers)
    return std::pair{plan.interleave > 1 ? fmt::format("pipeline {} x interleave {} is more than {} layers", plan.pipeline, plan.interleave, layers)
                                         : fmt::format("pipeline {} is more than {} layers", plan.pipeline, layers),
                     fmt::format("at most {} stages", std::max(1, layers / plan.interleave))};
  if (plan.interleave > 1 && plan.pipeline == 1) return std::pair{std::string("interleave needs a pipeline"), std::string("pipeline of 2 or more, or interleave: 1")};
  if (plan.interleave > 1 && plan.schedule != Schedule::interleaved)
    return std::pair{fmt::format("schedule {} has no interleave", to_string(plan.schedule)), std::string("schedule: interleaved, or interleave: 1")};
  if (plan.schedule == Schedule::interleaved && plan.microbatches % plan.pipeline != 0)
    return std::pair{fmt::format("an interleaved pipeline of {} runs its micro-batches in groups of {}, not {}", plan.pipeline, plan.pipeline, plan.microbatches),
                     fmt::format("microbatches could be {} or {}", plan.microbatches / plan.pipeline * plan.pipeline + plan.pipeline, 4 * plan.pipeline)};
  return {};
}

Problem stream_problem(const ParallelismPlan& plan) {
  if (plan.sequence && plan.tensor == 1)
    return std::pair{std::string("sequence parallelism runs over the tensor axis, which is 1"), std::string("tensor of 2 or more, or sequence: false")};
  if (plan.sequence && plan.layout == models::Layout::weight_stationary_2d)
    return std::pair{std::string("the 2d layout cuts activations by width, sequence parallelism by tokens"), std::string("sequence: false, or another layout")};
  return {};
}

Problem expert_problem(const ParallelismPlan& plan, const models::ModelConfig& model) {
  if (plan.expert == 1 && plan.expert_tensor == 1) return {};
  for (const models::LayerGroup& group : model.layers)
    if (std::ranges::any_of(group.pattern, [](const models::LayerSpec& layer) { return layer.moe.has_value(); })) return {};
  return std::pair{fmt::format("{} has no experts", model.id.empty() ? "the model" : model.id), std::string("expert: 1 and expert_tensor: 1")};
}

/// Chips of one member of each network level, and with torus axes as steps of their own: name, chips inside, chips up to its end.
struct Step {
  std::string name, axis;
  double inside, until;
};

std::vector<Step> steps_of(const hw::Pool& pool) {
  std::vector<Step> steps;
  double inside = 1;
  for (const hw::NetworkLevel& level : pool.network) {
    const bool axes = level.shape.size() > 1;
    for (std::size_t a = 0; a < (axes ? level.shape.size() : 1); ++a) {
      const double size = axes ? level.shape[a] : level.size;
      steps.push_back({level.level, axes ? fmt::format("{}.{}", level.level, "xyz"[std::min<std::size_t>(a, 2)]) : level.level, inside, inside * size});
      inside *= size;
    }
  }
  return steps;
}

/// Every step that the group spans is one of the levels named.
bool within(const RankGroup& group, const std::vector<std::string>& levels, const std::vector<Step>& steps) {
  if (group.size <= 1) return true;
  const double reach = group.stride * group.size;
  return std::ranges::all_of(steps, [&](const Step& s) {
    const bool spanned = reach > s.inside && group.stride < s.until;
    return !spanned || std::ranges::count(levels, s.name) || std::ranges::count(levels, s.axis);
  });
}

bool all_placed(const ParallelismPlan& plan, const std::vector<MeshAxis>& order, const std::vector<Step>& steps) {
  const Placed groups = placed(plan, order);
  return std::ranges::all_of(plan.place, [&](const auto& place) { return within(groups.of(place.first), place.second, steps); });
}

/// Every group has one stride: context and data lie side by side, for they share gradients, and no expert group has the
/// pipeline between its chips.
bool regular(const ParallelismPlan& plan, const std::vector<MeshAxis>& order) {
  const Placed groups = placed(plan, order);
  const RankGroup &data = groups.of(MeshAxis::data), &context = groups.of(MeshAxis::context);
  if (data.size > 1 && context.size > 1 && data.stride != context.stride * context.size && context.stride != data.stride * data.size) return false;
  const double inner = groups.of(MeshAxis::pipeline).stride;
  double stride = 1;
  if (plan.pipeline == 1 || (plan.expert == 1 && plan.expert_tensor == 1)) return true;
  for (int size : {plan.expert_tensor, plan.expert, plan.expert_data}) {
    const bool inside = std::fmod(inner, stride * size) == 0, outside = std::fmod(stride, inner) == 0;
    if (size > 1 && !inside && !outside) return false;
    stride *= size;
  }
  return true;
}

}  // namespace

models::Sharding ParallelismPlan::sharding() const {
  return {.tensor = double(tensor), .context = double(context), .data = double(data), .expert_tensor = double(expert_tensor), .expert = double(expert),
          .sequence = sequence, .layout = layout, .exchange = exchange};
}

Problem problem_with(const ParallelismPlan& plan, const models::ModelConfig& model, int chips) {
  using enum MeshAxis;
  if (auto p = mesh_problem(plan, {tensor, context, data, pipeline}, chips)) return p;
  if (auto p = expert_problem(plan, model)) return p;
  if (auto p = mesh_problem(plan, {expert, expert_tensor, expert_data, pipeline}, chips)) return p;
  if (auto p = schedule_problem(plan, model.layer_count())) return p;
  if (auto p = stream_problem(plan)) return p;
  const auto wrong = misfit(plan, model);
  if (!wrong) return {};
  return std::pair{wrong->message, what_fits(plan, model, *wrong)};
}

/// Dense axes in the given order. Expert axes lie on the chips of a pipeline stage, numbered in that order: expert_tensor
/// innermost, then expert, then expert_data; where the pipeline stands between a stage's chips, whole groups lie on either
/// side of it (axis_orders leaves out what does not).
Placed placed(const ParallelismPlan& plan, const std::vector<MeshAxis>& order) {
  Placed result;
  double stride = 1;
  for (MeshAxis axis : order) {
    result.groups[static_cast<std::size_t>(axis)] = {double(size_of(plan, axis)), stride};
    stride *= size_of(plan, axis);
  }
  const double inner = result.of(MeshAxis::pipeline).stride;
  stride = 1;
  for (MeshAxis axis : {MeshAxis::expert_tensor, MeshAxis::expert, MeshAxis::expert_data}) {
    result.groups[static_cast<std::size_t>(axis)] = {double(size_of(plan, axis)), stride < inner ? stride : stride * plan.pipeline};
    stride *= size_of(plan, axis);
  }
  const RankGroup &data = result.of(MeshAxis::data), &context = result.of(MeshAxis::context);
  const double both = std::min(data.size > 1 ? data.stride : context.stride, context.size > 1 ? context.stride : data.stride);
  result.gradients = {data.size * context.size, both};
  return result;
}

std::vector<std::vector<MeshAxis>> axis_orders(const ParallelismPlan& plan, const hw::Pool& pool) {
  const std::vector<MeshAxis> usual{MeshAxis::tensor, MeshAxis::context, MeshAxis::data, MeshAxis::pipeline};
  const std::vector<Step> steps = steps_of(pool);
  std::vector<MeshAxis> used, idle;
  for (MeshAxis axis : usual) (size_of(plan, axis) > 1 ? used : idle).push_back(axis);
  std::vector<std::vector<MeshAxis>> orders;
  std::vector<MeshAxis> order = used;
  do {
    std::vector<MeshAxis> all = order;
    all.insert(all.end(), idle.begin(), idle.end());
    if (regular(plan, all) && all_placed(plan, all, steps)) orders.push_back(std::move(all));
  } while (std::ranges::next_permutation(order).found);
  return orders;
}

std::string_view to_string(Schedule schedule) {
  static constexpr std::array<std::string_view, 4> names{"gpipe", "1f1b", "interleaved", "zero-bubble"};
  return names[static_cast<std::size_t>(schedule)];
}

std::string describe(const ParallelismPlan& plan) {
  std::vector<std::string> words;
  for (int a = 0; a < models::mesh_axis_count; ++a) {
    const auto axis = static_cast<MeshAxis>(a);
    const bool follows = axis == MeshAxis::expert_data && plan.expert == 1 && plan.expert_tensor == 1;
    if (size_of(plan, axis) > 1 && !follows) words.push_back(fmt::format("{} {}", to_string(axis), size_of(plan, axis)));
  }
  if (plan.sequence) words.emplace_back("sequence");
  if (plan.zero > 0) words.push_back(fmt::format("zero {}", plan.zero));
  if (plan.pipeline > 1) words.emplace_back(to_string(plan.schedule));
  if (plan.interleave > 1) words.push_back(fmt::format("interleave {}", plan.interleave));
  if (plan.recompute != models::Recompute::none) words.push_back(plan.recompute == models::Recompute::full ? "full recompute" : "selective recompute");
  if (plan.layout != models::Layout::weight_stationary_1d) words.push_back(plan.layout == models::Layout::weight_gathered ? "weight-gathered" : "2-D weight-stationary");
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace gambrel::sim
