#include "sim/compare/compare_recipe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/data_type.hpp"

namespace gambrel::sim {
namespace {

/// What of a model products with weights stand in; routers, norms, embedding and lm_head are elsewhere.
constexpr std::array quantised_parts{"layers.*.attn", "layers.*.mlp", "layers.*.moe.experts", "layers.*.moe.shared", "layers.*.mamba"};

Node mapping_of(std::string_view key, Node value) {
  Node node = Node::mapping();
  node.set(key, std::move(value));
  return node;
}

Node with_scale(Format format, Node scale) {
  Node type = mapping_of("type", Node::of(to_string(format)));
  type.set("scale", std::move(scale));
  return type;
}

Node grouped(Format format, double elements) {
  Node scale = mapping_of("group", Node::of(elements));
  scale.set("type", Node::of(to_string(Format::fp16)));
  return with_scale(format, std::move(scale));
}

Node per_channel(Format format) {
  Node scale = mapping_of("per", Node::of("channel"));
  scale.set("type", Node::of(to_string(Format::fp32)));
  return with_scale(format, std::move(scale));
}

/// The data type as a run file would write it, with the scales that recipes give it.
Node scaled(const DataType& type, bool weights) {
  if (type.format == Format::int8) return per_channel(type.format);
  if (type.format == Format::int4) return grouped(type.format, 128);
  if (type.format == Format::int2) return grouped(type.format, 64);
  if (type.scale.rows <= 1) return Node::of(to_string(type.format));
  // Blocks of weights; activations have groups along the contracted axis only (DeepSeek-V3, arXiv 2412.19437 section 3.3.2).
  Node block = Node::sequence();
  block.append(Node::of(double(weights ? type.scale.rows : 1)));
  block.append(Node::of(double(type.scale.columns)));
  Node scale = mapping_of("block", std::move(block));
  scale.set("type", Node::of(to_string(type.scale.type)));
  return with_scale(type.format, std::move(scale));
}

struct Part {
  std::string field;  ///< "" of a whole recipe
  DataType type;
  bool weight_only = false;
};

Result<Part> read_part(const std::string& text, const Position& at) {
  Part part;
  std::string name = text;
  if (const auto equals = text.find('='); equals != std::string::npos) {
    static const std::vector<std::string> fields{"weights", "activations", "kv", "accumulate", "lm_head"};
    part.field = text.substr(0, equals);
    name = text.substr(equals + 1);
    if (!std::ranges::count(fields, part.field)) {
      const std::string near = nearest(part.field, fields);
      return fail({at, fmt::format("a recipe has no part '{}'", part.field), near.empty() ? fmt::format("parts are {}", fmt::join(fields, ", ")) : fmt::format("did you mean '{}'?", near)});
    }
  }
  if (part.field.empty() && name.ends_with("_wo")) part.weight_only = true, name.resize(name.size() - 3);
  const auto type = parse_data_type(name);
  if (!type) return fail({at, type.error(), "a recipe is a format, FORMAT_wo (weights only), or parts such as fp8+kv=fp8"});
  part.type = type->type;
  part.weight_only |= part.type.format == Format::int2 || part.type.format == Format::sign1;
  return part;
}

void erase_choices(Node& section) {
  for (const char* key : {"weights", "activations", "kv_cache", "overrides"}) section.erase(key);
}

Node& overrides_of(Node& section) {
  Node* found = section.find("overrides");
  return found ? *found : section.set("overrides", Node::sequence());
}

void apply_whole(Node& section, const Part& part) {
  erase_choices(section);
  if (part.type.element_bits() >= 16) {
    const Node type = Node::of(to_string(part.type.format));
    section.set("weights", type);
    if (part.weight_only) return;
    section.set("activations", type);
    section.set("kv_cache", type);
    return;
  }
  for (const char* match : quantised_parts) {
    Node& item = overrides_of(section).append(mapping_of("match", Node::of(match)));
    item.set("weights", scaled(part.type, true));
    if (!part.weight_only) item.set("activations", scaled(part.type, false));
  }
}

/// One field: for the whole model, and in the overrides that stand already.
void apply_field(Node& section, const Part& part) {
  if (part.field == "lm_head") {
    Node& item = overrides_of(section).append(mapping_of("match", Node::of("lm_head")));
    item.set("weights", scaled(part.type, true));
    item.set("activations", scaled(part.type, false));
    return;
  }
  const bool plain = part.field == "kv" || part.field == "accumulate";
  const std::string key = part.field == "kv" ? "kv_cache" : part.field;
  const Node type = plain ? Node::of(to_string(part.type.format)) : scaled(part.type, part.field == "weights");
  Node* overrides = section.find("overrides");
  if (plain || !overrides) {
    section.set(key, type);
    return;
  }
  for (Node& item : overrides->items) item.set(key, type);
}

}  // namespace

Result<Node> precision_section(const Node& value, const Node* under) {
  if (value.is_mapping()) return value;
  Node section = under && under->is_mapping() ? *under : Node::mapping();
  section.at = value.at;
  std::string text = value.text;
  if (text.empty()) return fail({value.at, "a precision is missing", "a format such as fp8, or parts such as int4_wo+kv=fp8"});
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find('+', start), text.size());
    const auto part = read_part(text.substr(start, end - start), value.at);
    if (!part) return fail(part.error());
    part->field.empty() ? apply_whole(section, *part) : apply_field(section, *part);
    start = end + 1;
  }
  return section;
}

Result<Node> precision_override(std::string_view match, const Node& recipe) {
  const auto part = read_part(recipe.text, recipe.at);
  if (!part) return fail(part.error());
  if (!part->field.empty()) return fail({recipe.at, fmt::format("'{}' is a part of a recipe, not a whole one", recipe.text), "name a format such as fp8 or int4_wo"});
  Node item = mapping_of("match", Node::of(match));
  if (match.ends_with("attn.core")) {
    item.set("kv_cache", scaled(part->type, false));
    return item;
  }
  item.set("weights", scaled(part->type, true));
  if (!part->weight_only) item.set("activations", scaled(part->type, false));
  return item;
}

Node sparsity_section(const Node& value) {
  if (value.is_mapping() && !value.find("density")) return value;
  Node section = mapping_of("weights", value);
  section.at = value.at;
  return section;
}

}  // namespace gambrel::sim
