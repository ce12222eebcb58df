// Which stored tensors make up each of ours: Hugging Face's names of models that are built like Llama.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/load.hpp"
#include "kernels/weights/safetensors.hpp"
#include "models/build.hpp"

namespace gambrel::kernels {
namespace {

using models::LayerSpec;

Diagnostic bad(std::string message, std::string hint = "") {
  return {{}, std::move(message), std::move(hint), Fault::input};
}

std::size_t size_of(double extent) { return static_cast<std::size_t>(std::llround(extent)); }

/// A stored tensor of `rows` rows of `width`; a vector has one row.
struct Piece {
  std::string name;
  std::size_t rows, width;
};

/// One of our tensors: pieces one below the other, of which `rows` rows are taken, evenly spread (0: all).
struct Assembly {
  std::vector<Piece> pieces;
  std::size_t rows = 0;
};
using Assemblies = std::map<std::string, Assembly, std::less<>>;

/// Adds what makes up a layer. `ours`: "layers.0.", `theirs`: "model.layers.7.".
class LayerNames {
 public:
  LayerNames(Assemblies& all, const Checkpoint& checkpoint, const models::ModelConfig& model, std::string ours,
             std::string theirs)
      : all_(all),
        checkpoint_(checkpoint),
        hidden_(size_of(model.hidden)),
        ours_(std::move(ours)),
        theirs_(std::move(theirs)) {}

  void add(const LayerSpec& spec) {
    gain("attn.norm", "input_layernorm");
    if (spec.attention) attention(*spec.attention);
    gain(spec.moe ? "moe.norm" : "mlp.norm", "post_attention_layernorm");
    if (spec.dense) feed_forward("mlp", "mlp", spec.dense->inner);
    if (spec.moe) mixture(*spec.moe);
  }

 private:
  void put(std::string_view name, std::vector<Piece> pieces) {
    for (Piece& piece : pieces) piece.name = theirs_ + piece.name;
    all_[fmt::format("{}{}", ours_, name)].pieces = std::move(pieces);
  }
  void gain(std::string_view name, std::string_view stored) {
    put(fmt::format("{}.gain", name), {{fmt::format("{}.weight", stored), 1, hidden_}});
  }
  bool has(std::string_view name) const { return checkpoint_.find(fmt::format("{}{}", theirs_, name)) != nullptr; }

  void attention(const models::GroupedAttention& a) {
    const std::size_t head = size_of(a.head_dim), q = size_of(a.heads) * head, kv = size_of(a.kv_heads) * head;
    if (has("self_attn.qkv_proj.weight")) put("attn.qkv.weight", {{"self_attn.qkv_proj.weight", q + 2 * kv, hidden_}});
    else
      put("attn.qkv.weight", {{"self_attn.q_proj.weight", q, hidden_},
                              {"self_attn.k_proj.weight", kv, hidden_},
                              {"self_attn.v_proj.weight", kv, hidden_}});
    if (a.qkv_bias)
      put("attn.qkv.bias",
          {{"self_attn.q_proj.bias", 1, q}, {"self_attn.k_proj.bias", 1, kv}, {"self_attn.v_proj.bias", 1, kv}});
    if (a.qk_norm == models::QkNorm::head)
      put("attn.qk_norm.gain", {{"self_attn.q_norm.weight", 1, head}, {"self_attn.k_norm.weight", 1, head}});
    put("attn.out.weight", {{"self_attn.o_proj.weight", hidden_, q}});
    if (a.out_bias) put("attn.out.bias", {{"self_attn.o_proj.bias", 1, hidden_}});
  }

  void feed_forward(std::string_view ours, std::string_view stored, double inner) {
    const std::size_t n = size_of(inner);
    auto part = [&](std::string_view name) { return fmt::format("{}.{}.weight", stored, name); };
    if (has(part("gate_up_proj")))
      put(fmt::format("{}.gate_up.weight", ours), {{part("gate_up_proj"), 2 * n, hidden_}});
    else put(fmt::format("{}.gate_up.weight", ours), {{part("gate_proj"), n, hidden_}, {part("up_proj"), n, hidden_}});
    put(fmt::format("{}.down.weight", ours), {{part("down_proj"), hidden_, n}});
  }

  /// Mixtral's names, or those of all others.
  void mixture(const models::MoeFfn& f) {
    const bool mixtral = has("block_sparse_moe.gate.weight");
    const std::string block = mixtral ? "block_sparse_moe" : "mlp";
    const auto names = mixtral ? std::array{"w1", "w3", "w2"} : std::array{"gate_proj", "up_proj", "down_proj"};
    const std::size_t inner = size_of(f.mean_inner()), experts = size_of(f.experts());
    put("moe.router.weight", {{block + ".gate.weight", experts, hidden_}});
    std::vector<Piece> up, down;
    for (std::size_t e = 0; e < experts; ++e) {
      auto name = [&](int which) {
        return fmt::format("{}.experts.{}.{}.weight", block, e, names[static_cast<std::size_t>(which)]);
      };
      up.push_back({name(0), inner, hidden_});
      up.push_back({name(1), inner, hidden_});
      down.push_back({name(2), hidden_, inner});
    }
    put("moe.experts.up.weight", std::move(up));
    put("moe.experts.down.weight", std::move(down));
    if (f.shared_inner > 0) feed_forward("moe.shared", "mlp.shared_expert", f.shared_inner);
    if (f.shared_gate) put("moe.shared.gate.weight", {{"mlp.shared_expert_gate.weight", 1, hidden_}});
  }

  Assemblies& all_;
  const Checkpoint& checkpoint_;
  std::size_t hidden_;
  std::string ours_, theirs_;
};

class MappedWeights final : public WeightSource {
 public:
  MappedWeights(const Checkpoint& checkpoint, Assemblies assemblies)
      : checkpoint_(checkpoint), assemblies_(std::move(assemblies)) {}

  WeightData whole(std::string_view name, std::size_t width, std::size_t) const override {
    const auto found = assemblies_.find(name);
    if (found == assemblies_.end()) return nullptr;
    std::vector<float> values;
    for (const Piece& piece : found->second.pieces) {
      const std::vector<float> part = values_of(*checkpoint_.find(piece.name));
      values.insert(values.end(), part.begin(), part.end());
    }
    return std::make_shared<const std::vector<float>>(thinned(std::move(values), width, found->second.rows));
  }

 private:
  static std::vector<float> thinned(std::vector<float> values, std::size_t width, std::size_t rows) {
    const std::size_t all = values.size() / width;
    if (rows == 0 || rows == all) return values;
    for (std::size_t row = 0; row < rows; ++row)
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row * all / rows * width), width,
                  values.begin() + static_cast<std::ptrdiff_t>(row * width));
    values.resize(rows * width);
    return values;
  }
  const Checkpoint& checkpoint_;
  Assemblies assemblies_;
};

Diagnostics check_piece(const Checkpoint& checkpoint, const Piece& piece) {
  const StoredTensor* stored = checkpoint.find(piece.name);
  if (!stored)
    return {bad(fmt::format("the checkpoint has no tensor '{}'", piece.name), "is it a file of this model?")};
  for (std::string_view ending : {"_scale", "_scale_inv"})
    if (checkpoint.find(fmt::format("{}{}", piece.name, ending)))
      return {bad(fmt::format("tensor '{}' is quantised: it has scales of its own", piece.name),
                  "give the unquantised checkpoint")};
  if (!has_values(*stored))
    return {bad(fmt::format("tensor '{}' is {}, which is no floating-point type", piece.name, stored->dtype),
                "F64, F32, F16, BF16, F8_E4M3 or F8_E5M2")};
  const std::uint64_t width = stored->shape.empty() ? 1 : stored->shape.back();
  if (width == piece.width && stored->elements() == piece.rows * piece.width) return {};
  return {bad(fmt::format("tensor '{}' has {} elements in rows of {}, the model {} in rows of {}", piece.name,
                          stored->elements(), width, piece.rows * piece.width, piece.width),
              "is it a file of this model?")};
}

/// Every parameter of the copy has to be in the file, or the formula would stand in for it.
Diagnostics check_complete(const Assemblies& assemblies, const models::ModelConfig& copy) {
  const models::Graph graph =
      models::build(copy, {copy.dtype, {}, {}}, {.sequences = 1, .new_tokens = 2, .fused_experts = false});
  for (const models::Tensor& t : graph.tensors())
    if ((t.role == models::Role::weight || t.role == models::Role::expert_weight) && !assemblies.contains(t.name))
      return {
          bad(fmt::format("'{}' of the model has no counterpart in a checkpoint that is built like Llama", t.name))};
  return {};
}

constexpr std::array families = {"llama", "mistral", "qwen2", "qwen3", "phi3", "mixtral", "qwen2_moe", "qwen3_moe"};

/// The directory and the shards that an index names.
Result<std::set<std::string>> shards_of(const std::string& path) {
  const auto index = load_file(path, {.bytes = 64 << 20, .values = 2'000'000});
  if (!index) return fail(index.error());
  const Node* map = index->find("weight_map");
  if (!map || !map->is_mapping() || map->members.empty())
    return fail({index->at, "has no weight_map", "give a model.safetensors.index.json", Fault::input});
  std::set<std::string> names;
  for (const Member& member : map->members) {
    const std::string& name = member.value.text;
    if (!member.value.is_string() || name.empty() || name.find('/') != name.npos || !name.ends_with(".safetensors"))
      return fail({member.value.at,
                   fmt::format("shard '{}' is not the name of a safetensors file beside the index", name), "",
                   Fault::input});
    names.insert(name);
  }
  return names;
}

}  // namespace

const StoredTensor* Checkpoint::find(std::string_view name) const {
  for (const auto& file : files_)
    if (const auto found = file->tensors().find(name); found != file->tensors().end()) return &found->second;
  return nullptr;
}

// What config.json leaves out is what Hugging Face's classes assume.
Diagnostics Checkpoint::read_config(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    notes_ = "no config.json beside it: rotary base 10000, epsilon 1e-5";
    return {};
  }
  const auto config = load_file(path, {.nonfinite_as_null = true});
  if (!config) return config.error();
  const Node* rope = config->find("rope_parameters");
  rotary_base_ = config->number_or("rope_theta", rope ? rope->number_or("rope_theta", rotary_base_) : rotary_base_);
  norm_epsilon_ = config->number_or("rms_norm_eps", norm_epsilon_);
  normalise_top_k_ = config->boolean_or("norm_topk_prob", normalise_top_k_);
  const Node* scaling = config->find("rope_scaling");
  if (scaling && scaling->is_mapping()) notes_ = "its rope_scaling is not executed";
  return {};
}

Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path) {
  const std::filesystem::path where(path);
  std::set<std::string> names{where.filename().string()};
  if (path.ends_with(".json")) {
    auto shards = shards_of(path);
    if (!shards) return fail(shards.error());
    names = std::move(*shards);
  }
  auto checkpoint = std::make_unique<Checkpoint>();
  std::set<std::string, std::less<>> seen;
  for (const std::string& name : names) {
    auto file = SafetensorsFile::open((where.parent_path() / name).string());
    if (!file) return fail(file.error());
    for (const auto& [tensor, stored] : (*file)->tensors())
      if (!seen.insert(tensor).second) return fail(bad(fmt::format("tensor '{}' is in two shards", tensor)));
    checkpoint->files_.push_back(std::move(*file));
  }
  if (auto problems = checkpoint->read_config((where.parent_path() / "config.json").string()); !problems.empty())
    return fail(std::move(problems));
  return checkpoint;
}

Result<std::unique_ptr<WeightSource>> map_checkpoint(const Checkpoint& checkpoint, const models::ModelConfig& model,
                                                     const models::ModelConfig& copy, const std::vector<int>& layers) {
  if (std::ranges::find(families, model.family) == families.end())
    return fail(bad(fmt::format("checkpoints of family '{}' cannot be read", model.family),
                    fmt::format("one of {}, or leave the file out: synthetic weights", fmt::join(families, ", "))));
  Assemblies all;
  const std::size_t hidden = size_of(model.hidden), vocabulary = size_of(model.vocab), rows = size_of(copy.vocab);
  all["embed.table"] = {{{"model.embed_tokens.weight", vocabulary, hidden}}, rows};
  if (!model.tie_embeddings) all["lm_head.weight"] = {{{"lm_head.weight", vocabulary, hidden}}, rows};
  all["norm.gain"] = {{{"model.norm.weight", 1, hidden}}, 0};
  for (std::size_t j = 0; j < layers.size(); ++j)
    LayerNames(all, checkpoint, model, fmt::format("layers.{}.", j), fmt::format("model.layers.{}.", layers[j]))
        .add(copy.layers[j].pattern.front());
  if (Diagnostics problems = check_complete(all, copy); !problems.empty()) return fail(std::move(problems));
  for (const auto& [name, assembly] : all)
    for (const Piece& piece : assembly.pieces)
      if (Diagnostics problems = check_piece(checkpoint, piece); !problems.empty()) return fail(std::move(problems));
  return std::make_unique<MappedWeights>(checkpoint, std::move(all));
}

}  // namespace gambrel::kernels
