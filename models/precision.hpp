// Which number format each operator's operands have.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/data_type.hpp"
#include "base/node.hpp"
#include "base/result.hpp"

namespace gambrel::models {

/// One level of choices; an empty field leaves the choice to the level below.
struct PrecisionChoice {
  std::optional<DataType> weights, activations, kv_cache, accumulate;
  std::optional<DataType> dispatch, combine;  ///< of tokens sent to experts, and of what comes back
  bool operator==(const PrecisionChoice&) const = default;
};

struct PrecisionOverride {
  std::string match;  ///< glob over operator paths, "layers.*.mlp"; a match of a leading part counts
  PrecisionChoice choice;
};

struct Precision {
  PrecisionChoice all;
  std::vector<PrecisionOverride> overrides;  ///< later ones win
};

/// What holds for one operator, nothing left open.
struct OpPrecision {
  DataType weights, activations, kv_cache, accumulate;
  DataType residual;  ///< residual stream, attention output, logits: at least 16 bits
  std::optional<DataType> dispatch, combine;  ///< if not chosen: the experts' activations, the residual stream's
  bool operator==(const OpPrecision&) const = default;
};

/// The run's choices over the checkpoint's over the model's own type. A run that names `weights` sets aside the
/// checkpoint's choice of weights everywhere, its overrides included; likewise each other field.
class PrecisionPolicy {
 public:
  PrecisionPolicy(DataType dtype, const Precision& checkpoint, const Precision& run);

  /// For an operator path such as "layers.7.attn.qkv".
  OpPrecision at(std::string_view path) const;
  /// Which overrides apply to paths under layer `index`: equal signatures, equal layers.
  std::string signature(int layer) const;

 private:
  DataType dtype_;
  std::vector<Precision> levels_;  ///< weakest first
};

/// Decodes a validated `precision:` mapping.
Result<Precision> read_precision(const Node& node);

/// `pattern` against a dotted path or a leading part of it: "*" matches within one key, "**" any number of keys,
/// "3-7" an index in that range.
bool matches(std::string_view pattern, std::string_view path);

}  // namespace gambrel::models
