// Kinds of layers are told apart by their specification alone, so that every variant of a model runs the same copy.
#include "kernels/numerical_error/numerical_error_copy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/weights/scale_model.hpp"

namespace gambrel::kernels {
namespace {

using models::LayerSpec;

std::vector<const LayerSpec*> written_out(const models::ModelConfig& model) {
  std::vector<const LayerSpec*> layers;
  for (const models::LayerGroup& group : model.layers)
    for (int i = 0; i < group.count; ++i)
      for (const LayerSpec& spec : group.pattern) layers.push_back(&spec);
  return layers;
}

/// Equal layers and how many of them are taken.
struct Kind {
  std::vector<int> members;
  int taken = 0;
};

std::vector<Kind> kinds_of(const std::vector<const LayerSpec*>& layers) {
  std::vector<Kind> kinds;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto same = [&](const Kind& kind) { return *layers[static_cast<std::size_t>(kind.members.front())] == *layers[i]; };
    const auto found = std::ranges::find_if(kinds, same);
    Kind& kind = found == kinds.end() ? kinds.emplace_back() : *found;
    kind.members.push_back(static_cast<int>(i));
  }
  return kinds;
}

/// One after the other goes to the kind that has the least for its share; a kind that has none comes first.
void deal_out(std::vector<Kind>& kinds, int count) {
  auto fill = [](const Kind& kind) { return kind.taken / static_cast<double>(kind.members.size()); };
  for (int i = 0; i < count; ++i) {
    auto before = [&](const Kind& a, const Kind& b) {
      if ((a.taken == 0) != (b.taken == 0)) return a.taken == 0;
      return a.taken == 0 ? a.members.size() > b.members.size() : fill(a) < fill(b);
    };
    ++std::ranges::min_element(kinds, before)->taken;
  }
}

/// The leading "layers.INDEX" of a pattern, or nothing: it does not start with the layers' own key.
std::string layer_part(std::string_view pattern) {
  if (!pattern.starts_with("layers.")) return {};
  return std::string(pattern.substr(0, pattern.find('.', 7)));
}

}  // namespace

std::vector<int> sampled_layers(const models::ModelConfig& model, int count) {
  std::vector<Kind> kinds = kinds_of(written_out(model));
  deal_out(kinds, std::min(count, model.layer_count()));
  std::vector<int> layers;
  for (const Kind& kind : kinds)
    for (int j = 0; j < kind.taken; ++j)
      layers.push_back(kind.members[(2 * static_cast<std::size_t>(j) + 1) * kind.members.size() /
                                    (2 * static_cast<std::size_t>(kind.taken))]);
  std::ranges::sort(layers);
  return layers;
}

ErrorCopy error_copy(const models::ModelConfig& model, int layers, double width_fraction, double vocabulary) {
  ErrorCopy copy{.model = model, .layers = sampled_layers(model, layers)};
  const std::vector<const LayerSpec*> all = written_out(model);
  copy.model.layers.clear();
  for (int layer : copy.layers) copy.model.layers.push_back({1, {*all[static_cast<std::size_t>(layer)]}});
  copy.model = scale_model(copy.model, 0, width_fraction);
  copy.model.vocab = vocabulary;
  copy.model.precision = translated(model.precision, copy.layers);
  return copy;
}

models::Precision translated(const models::Precision& precision, const std::vector<int>& layers) {
  models::Precision result{.all = precision.all};
  for (const models::PrecisionOverride& o : precision.overrides) {
    const std::string part = layer_part(o.match);
    if (part.empty() || part.ends_with("**")) {
      result.overrides.push_back(o);
      continue;
    }
    for (std::size_t j = 0; j < layers.size(); ++j)
      if (models::matches(part, fmt::format("layers.{}", layers[j])))
        result.overrides.push_back({fmt::format("layers.{}{}", j, o.match.substr(part.size())), o.choice});
  }
  return result;
}

}  // namespace gambrel::kernels
