#include "reports/comparison.hpp"

#include <fmt/format.h>

#include <cmath>

#include "base/load.hpp"
#include "base/text.hpp"
#include "reports/comparison_grid.hpp"
#include "reports/format.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {

using sim::ComparisonResult, sim::VariantResult;

Node optional_number(const std::optional<double>& value) { return value ? number(*value) : Node{}; }

std::optional<double> joules_per_token(const VariantResult& v) {
  const auto energy = energy_per_token(v.estimate.total);
  return energy ? std::optional(energy->value) : std::nullopt;
}

Node operator_node(const kernels::OperatorError& op) {
  Node node = Node::mapping();
  node.set("name", shown(op.name));
  node.set("kind", Node::of(op.kind));
  node.set("relative_error", number(op.relative_error));
  node.set("sqnr_db", number(op.sqnr_db));
  node.set("own_relative_error", number(op.own_relative_error));
  node.set("own_sqnr_db", number(op.own_sqnr_db));
  node.set("nonzero", number(op.nonzero));
  return node;
}

Node growth_node(const kernels::ErrorGrowth& growth) {
  Node node = Node::mapping();
  Node& points = node.set("points", Node::sequence());
  for (const kernels::GrowthPoint& p : growth.points) {
    Node& point = points.append(Node::mapping());
    point.set("layers", number(p.layers));
    point.set("relative_error", number(p.relative_error));
  }
  node.set("exponent", number(growth.exponent));
  node.set("at_full_depth", number(growth.at_full_depth));
  return node;
}

Node error_node(const kernels::ErrorReport& e) {
  Node node = Node::mapping();
  for (const auto& [key, value] : {std::pair{"relative_error", e.relative_error}, {"sqnr_db", e.sqnr_db}, {"weight_sqnr_db", e.weight_sqnr_db}, {"weight_density", e.weight_density},
                                   {"kl_divergence", e.distribution.kl_divergence}, {"top1_agreement", e.distribution.top1_agreement}, {"reference_entropy", e.distribution.reference_entropy}})
    node.set(key, number(value));
  node.set("growth", growth_node(e.growth));
  Node& operators = node.set("operators", Node::sequence());
  for (const kernels::OperatorError& op : e.operators) operators.append(operator_node(op));
  return node;
}

/// How the errors were measured: the same for all variants.
Node method_node(const kernels::ErrorReport& e) {
  Node node = Node::mapping();
  node.set("weights", shown(e.weights));
  node.set("real_weights", Node::of(e.real_weights));
  node.set("scaling", shown(e.scaling));
  for (const auto& [key, value] : {std::pair{"layers", double(e.layers)}, {"model_layers", double(e.model_layers)}, {"width_fraction", e.width_fraction}, {"tokens", e.tokens},
                                   {"vocabulary_rows", e.vocabulary_rows}, {"model_vocabulary", e.model_vocabulary}})
    node.set(key, number(value));
  return node;
}

Node variant_node(const VariantResult& v) {
  const sim::Total& total = v.estimate.total;
  Node node = Node::mapping();
  node.set("name", shown(v.name));
  node.set("time_s", number(total.time.value));
  node.set("speedup", number(v.speedup));
  node.set("tokens_per_s", number(total.tokens_per_second));
  if (v.estimate.serving) {
    node.set("ttft_s", number(v.estimate.serving->ttft.value));
    node.set("tpot_s", number(v.estimate.serving->tpot.value));
  }
  node.set("bound", shown(total.bound));
  node.set("bound_share", number(total.bound_share));
  node.set("bound_moved", Node::of(v.bound_moved));
  node.set("arithmetic_s", number(v.arithmetic.value));
  node.set("movement_s", number(v.movement.value));
  node.set("network_s", number(v.network.value));
  node.set("memory_bytes", number(v.memory.value));
  node.set("memory_ratio", number(v.memory_ratio));
  node.set("fits", Node::of(v.estimate.memory.fits));
  node.set("max_batch", number(v.estimate.memory.max_batch));
  node.set("energy_per_token_j", optional_number(joules_per_token(v)));
  node.set("energy_ratio", optional_number(v.energy_ratio));
  node.set("usd_per_million_tokens", optional_number(dollars_per_million_tokens(total)));
  node.set("front", Node::of(v.front));
  node.set("config_hash", shown(v.estimate.config_hash));
  if (v.error) node.set("error", error_node(*v.error));
  return node;
}

Node choices_node(const std::vector<sim::FoundFormats::Choice>& choices) {
  Node list = Node::sequence();
  for (const auto& choice : choices) {
    Node& node = list.append(Node::mapping());
    node.set("operators", shown(choice.group));
    node.set("format", shown(choice.recipe));
    node.set("saved_s", number(choice.saved.value));
    node.set("relative_error_alone", number(choice.error));
  }
  return list;
}

Node found_node(const sim::FoundFormats& found) {
  Node node = Node::mapping();
  node.set("budget", number(found.budget));
  node.set("relative_error", number(found.error));
  node.set("taken_back", number(found.taken_back));
  node.set("choices", choices_node(found.choices));
  node.set("considered", choices_node(found.considered));
  node.set("precision", shown(found.precision));
  return node;
}

std::string json(const ComparisonResult& c) {
  Node root = Node::mapping();
  root.set("schema_version", Node::of(static_cast<double>(schema_version)));
  root.set("comparison", shown(c.id));
  root.set("title", shown(comparison_title(c)));
  for (const VariantResult& v : c.variants)
    if (v.error && !root.find("error_method")) root.set("error_method", method_node(*v.error));
  Node& variants = root.set("variants", Node::sequence());
  for (const VariantResult& v : c.variants) variants.append(variant_node(v));
  if (c.found) root.set("found", found_node(*c.found));
  Node& notes = root.set("notes", Node::sequence());
  for (const std::string& note : c.notes) notes.append(shown(note));
  return to_json(root);
}

/// A number as CSV has it: empty where there is none or it is not finite.
std::string bare(const std::optional<double>& value) { return value && std::isfinite(*value) ? fmt::format("{}", *value) : ""; }

std::string csv(const ComparisonResult& c) {
  std::string text =
      "variant,time_s,speedup,tokens_per_s,ttft_s,tpot_s,bound,bound_moved,arithmetic_s,movement_s,network_s,memory_bytes,fits,max_batch,"
      "energy_per_token_j,usd_per_million_tokens,relative_error,sqnr_db,kl_divergence,top1_agreement,worst_operator,front\n";
  for (const VariantResult& v : c.variants) {
    const sim::Total& t = v.estimate.total;
    const auto& s = v.estimate.serving;
    const auto error = [&](auto figure) { return v.error ? bare(figure(*v.error)) : ""; };
    const auto answer = [&](auto figure) { return v.error && v.error->real_weights ? bare(figure(*v.error)) : ""; };  // synthetic weights say nothing
    const kernels::OperatorError* worst = v.error && v.error->relative_error > 0 ? kernels::worst_operator(*v.error) : nullptr;
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", escape_csv(v.name), bare(t.time.value), bare(v.speedup), bare(t.tokens_per_second),
                        s ? bare(s->ttft.value) : "", s ? bare(s->tpot.value) : "", escape_csv(t.bound), v.bound_moved ? 1 : 0, bare(v.arithmetic.value), bare(v.movement.value),
                        bare(v.network.value), bare(v.memory.value), v.estimate.memory.fits ? 1 : 0, bare(v.estimate.memory.max_batch), bare(joules_per_token(v)),
                        bare(dollars_per_million_tokens(t)), error([](const auto& e) { return e.relative_error; }), error([](const auto& e) { return e.sqnr_db; }),
                        answer([](const auto& e) { return e.distribution.kl_divergence; }), answer([](const auto& e) { return e.distribution.top1_agreement; }),
                        worst ? escape_csv(worst->name) : "", v.front ? 1 : 0);
  }
  return text;
}

std::string lines_text(const std::vector<Line>& lines, bool markdown) {
  std::string text;
  for (const auto& [label, value] : lines)
    text += markdown ? fmt::format("- **{}**: {}\n", escape_markdown(label), escape_markdown(value)) : fmt::format("{}  {}\n", padded(label, 10, false), printable(value));
  return text;
}

}  // namespace

std::string write_comparison(const ComparisonResult& c, TextFormat format) {
  if (format == TextFormat::json) return json(c);
  if (format == TextFormat::csv) return csv(c);
  const bool markdown = format == TextFormat::markdown;
  auto grid = [&](const Grid& g) { return markdown ? markdown_grid(g) : terminal_grid(g, false); };
  std::string text = (markdown ? "## " + escape_markdown(comparison_title(c)) : printable(comparison_title(c))) + "\n\n" + grid(variants_grid(c)) + "\n";
  if (const Grid found = found_grid(c); !found.rows.empty()) text += grid(found) + "\n";
  return text + lines_text(comparison_lines(c), markdown);
}

}  // namespace gambrel::reports
