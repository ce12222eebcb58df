// How tokens, widths and weights are shared out among the ranks of one model, layout by layout.
#include "models/shares.hpp"

#include <algorithm>
#include <limits>

namespace gambrel::models {
namespace {

/// The divisor of `whole` up to `most` with the least cost; the smaller of equals.
template <class Cost>
double best_divisor(double whole, double most, Cost cost) {
  double best = 1, least = std::numeric_limits<double>::infinity();
  for (int d = 1; d <= static_cast<int>(whole) && d <= most; ++d) {
    if (static_cast<int>(whole) % d != 0 || cost(d) >= least) continue;
    best = d;
    least = cost(d);
  }
  return best;
}

/// Elements of one layer's matrices that the tensor axis cuts: of its dense FFN, or of its attention.
double cut_weights(const LayerSpec& layer, double hidden) {
  if (layer.dense) return (is_gated(layer.dense->activation) ? 3 : 2) * hidden * layer.dense->inner;
  if (layer.attention)
    return 2 * hidden * (layer.attention->heads + layer.attention->kv_heads) * layer.attention->head_dim;
  return 0;
}

double most_cut_weights(const ModelConfig& model) {
  double most = 0;
  for (const LayerGroup& group : model.layers)
    for (const LayerSpec& layer : group.pattern) most = std::max(most, cut_weights(layer, model.hidden));
  return most;
}

}  // namespace

double best_split(double tensor, double hidden, double wide) {
  return best_divisor(tensor, tensor, [&](double x) { return hidden / x + wide * x / tensor; });
}

double best_gathered(double tensor, double weights, double hidden, double tokens, double sequences) {
  return best_divisor(tensor, sequences, [&](double n) {
    if (n == 1) return std::numeric_limits<double>::max();  // nothing gathered: another layout
    return weights * n / tensor + (n < tensor ? 2 * tokens * hidden / n : 0);
  });
}

double split_of(const ModelConfig& model, const Shares& shares, const LayerSpec& spec, bool mixer, bool ffn) {
  if (!shares.stream_by_width) return 1;
  if ((mixer && !spec.attention) || (ffn && !spec.dense)) return 1;
  double wide = 0;
  if (mixer) wide += 2 * (spec.attention->heads + spec.attention->kv_heads) * spec.attention->head_dim;
  if (ffn) wide += (is_gated(spec.dense->activation) ? 3 : 2) * spec.dense->inner;
  return best_split(shares.columns, 2 * model.hidden, wide);
}

Shares shares_of(const ModelConfig& model, const Step& step, const Sharding& sharding) {
  Shares s;
  s.cuts_context = sharding.context > 1 && step.new_tokens >= sharding.context;
  s.queries = s.cuts_context ? step.new_tokens / sharding.context : step.new_tokens;
  s.group_tokens = step.sequences * s.queries;
  if (sharding.layout == Layout::weight_gathered)
    s.gathered = best_gathered(sharding.tensor, most_cut_weights(model), model.hidden, s.group_tokens, step.sequences);
  s.columns = sharding.tensor / s.gathered;
  s.sequences = step.sequences / s.gathered;
  s.stream_by_width = sharding.layout == Layout::weight_stationary_2d && sharding.tensor > 1;
  s.stream_by_tokens =
      !s.stream_by_width && sharding.tensor > 1 && (sharding.sequence || sharding.layout == Layout::weight_gathered);
  s.own_tokens = s.group_tokens / sharding.tensor;
  s.stream_rows = s.stream_by_tokens ? s.own_tokens : s.group_tokens;
  s.stream_width = s.stream_by_width ? model.hidden / sharding.tensor : model.hidden;
  return s;
}

}  // namespace gambrel::models
