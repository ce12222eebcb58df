#include "models/precision.hpp"

#include <charconv>
#include <ranges>

namespace gambrel::models {
namespace {

/// A key against a pattern with stars: the last star takes one character more whenever the rest fails, so the time is
/// at most the product of the lengths, whatever a user writes.
bool glob_matches(std::string_view pattern, std::string_view key) {
  std::size_t p = 0, k = 0, star = std::string_view::npos, taken = 0;
  while (k < key.size()) {
    if (p < pattern.size() && pattern[p] == '*') star = p++, taken = k;
    else if (p < pattern.size() && pattern[p] == key[k]) ++p, ++k;
    else if (star != std::string_view::npos) p = star + 1, k = ++taken;
    else return false;
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// A key against "*", a literal with stars in it, or an index range "3-7".
bool key_matches(std::string_view pattern, std::string_view key) {
  int low = 0, high = 0, index = 0;
  const char* end = pattern.data() + pattern.size();
  if (auto [p, e] = std::from_chars(pattern.data(), end, low); e == std::errc{} && p != end && *p == '-')
    if (auto [q, f] = std::from_chars(p + 1, end, high); f == std::errc{} && q == end)
      if (auto [r, g] = std::from_chars(key.data(), key.data() + key.size(), index); g == std::errc{} && r == key.data() + key.size())
        return low <= index && index <= high;
  return glob_matches(pattern, key);
}

std::pair<std::string_view, std::string_view> first_key(std::string_view path) {
  const auto dot = path.find('.');
  if (dot == std::string_view::npos) return {path, {}};
  return {path.substr(0, dot), path.substr(dot + 1)};
}

/// "**.**" is "**": one of them takes any number of keys.
std::string_view without_repeats(std::string_view rest) {
  while (rest == "**" || rest.starts_with("**.")) rest = first_key(rest).second;
  return rest;
}

/// What is left of the pattern, in every way it can match the path's keys, a line each.
void append_rests(std::string_view pattern, std::string_view path, std::string& rests) {
  if (pattern.empty() || path.empty()) {
    rests.append(pattern).append(";");
    return;
  }
  const auto [want, rest] = first_key(pattern);
  const auto [have, deeper] = first_key(path);
  if (want == "**") {
    append_rests(without_repeats(rest), path, rests);
    append_rests(pattern, deeper, rests);
  } else if (key_matches(want, have)) {
    append_rests(rest, deeper, rests);
  }
}

void lay_over(PrecisionChoice& under, const PrecisionChoice& over) {
  if (over.weights) under.weights = over.weights;
  if (over.activations) under.activations = over.activations;
  if (over.kv_cache) under.kv_cache = over.kv_cache;
  if (over.accumulate) under.accumulate = over.accumulate;
  if (over.dispatch) under.dispatch = over.dispatch;
  if (over.combine) under.combine = over.combine;
}

/// Where the run makes a choice, the checkpoint's own falls away, its overrides included.
void set_aside(PrecisionChoice& checkpoint, const PrecisionChoice& run) {
  if (run.weights) checkpoint.weights.reset();
  if (run.activations) checkpoint.activations.reset();
  if (run.kv_cache) checkpoint.kv_cache.reset();
  if (run.accumulate) checkpoint.accumulate.reset();
  if (run.dispatch) checkpoint.dispatch.reset();
  if (run.combine) checkpoint.combine.reset();
}

Result<std::optional<DataType>> read_choice(const Node& node, std::string_view key) {
  const Node* value = node.find(key);
  if (!value || value->is_null()) return std::nullopt;
  auto named = read_data_type(*value);
  if (!named) return fail(named.error());
  if (named->weight_only && key != "weights") return fail({value->at, "a weight-only format holds weights alone", "name the format itself, such as int8"});
  return std::optional(named->type);
}

Result<PrecisionChoice> read_choices(const Node& node) {
  PrecisionChoice choice;
  Diagnostics problems;
  for (auto [key, field] : {std::pair{"weights", &choice.weights}, {"activations", &choice.activations},
                            {"kv_cache", &choice.kv_cache}, {"accumulate", &choice.accumulate},
                            {"dispatch", &choice.dispatch}, {"combine", &choice.combine}}) {
    auto value = read_choice(node, key);
    if (value) *field = *value;
    else problems.insert(problems.end(), value.error().begin(), value.error().end());
  }
  if (!problems.empty()) return fail(problems);
  return choice;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view path) {
  if (pattern.empty()) return true;  // a leading part of the path is enough
  if (path.empty()) return pattern == "**" || pattern == "*";
  const auto [want, rest] = first_key(pattern);
  const auto [have, deeper] = first_key(path);
  if (want == "**") return matches(without_repeats(rest), path) || matches(pattern, deeper);
  return key_matches(want, have) && matches(rest, deeper);
}

PrecisionPolicy::PrecisionPolicy(DataType dtype, const Precision& checkpoint, const Precision& run)
    : dtype_(dtype), levels_{checkpoint, run} {
  // What the run chooses for all wins in any case; an override that has nothing left to say must not part layers either.
  for (auto& o : levels_[0].overrides) set_aside(o.choice, run.all);
  std::erase_if(levels_[0].overrides, [](const PrecisionOverride& o) { return o.choice == PrecisionChoice{}; });
}

OpPrecision PrecisionPolicy::at(std::string_view path) const {
  PrecisionChoice choice;
  for (const Precision& level : levels_) {
    lay_over(choice, level.all);
    for (const auto& o : level.overrides)
      if (matches(o.match, path)) lay_over(choice, o.choice);
  }
  const DataType activations = choice.activations.value_or(dtype_);
  const bool narrow = activations.element_bits() < 16;
  const DataType residual = narrow ? (dtype_.element_bits() < 16 ? DataType(Format::bf16) : dtype_) : activations;
  return {choice.weights.value_or(dtype_), activations, choice.kv_cache.value_or(residual),
          choice.accumulate.value_or(Format::fp32), residual, choice.dispatch, choice.combine};
}

std::string PrecisionPolicy::signature(int layer) const {
  // What the patterns still ask of the path below the layer: all that can tell this layer from another.
  std::string result;
  const std::string path = "layers." + std::to_string(layer);
  for (const Precision& level : levels_)
    for (const auto& o : level.overrides) {
      append_rests(o.match, path, result);
      result += '|';
    }
  return result;
}

Result<Precision> read_precision(const Node& node) {
  Precision precision;
  auto all = read_choices(node);
  if (!all) return fail(all.error());
  precision.all = *all;
  if (const Node* overrides = node.find("overrides"))
    for (const Node& item : overrides->items) {
      auto choice = read_choices(item);
      if (!choice) return fail(choice.error());
      precision.overrides.push_back({item.text_or("match", ""), *choice});
    }
  return precision;
}

}  // namespace gambrel::models
