// Runs a graph: layers written out, ranks in step, operands found, kernels called, what they touched noted.
#include "kernels/executor.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <list>
#include <map>

#include "kernels/check_executable.hpp"
#include "kernels/op_run.hpp"

namespace gambrel::kernels {

using models::Graph;
using models::LayerSpec;
using models::ModelPart;
using models::Op;
using models::OpId;
using models::OpKind;
using models::Role;
using models::Step;
using models::Tensor;
using models::TensorId;
using models::Use;

template <class T>
Kernel<T> kernel_of(OpKind kind) {
  switch (kind) {
    using enum OpKind;
    case gemm: return run_gemm<T>;
    case batched_gemm: return run_batched_gemm<T>;
    case grouped_gemm: return run_grouped_gemm<T>;
    case attention: return run_attention<T>;
    case attention_scores: return run_attention_scores<T>;
    case attention_values: return run_attention_values<T>;
    case softmax: return run_softmax<T>;
    case rms_norm:
    case layer_norm: return run_norm<T>;
    case rotary: return run_rotary<T>;
    case elementwise: return run_elementwise<T>;
    case activation: return run_activation<T>;
    case embedding: return run_embedding<T>;
    case router_topk: return run_router_topk<T>;
    case dispatch: return run_dispatch<T>;
    case expert_ffn: return run_expert_ffn<T>;
    case combine: return run_combine<T>;
    case kv_append: return run_kv_append<T>;
    case sampling: return run_sampling<T>;
    case ssm_scan: return run_ssm_scan<T>;
    case conv1d: return run_conv1d<T>;
    case cross_entropy: return run_cross_entropy<T>;
    default: return nullptr;
  }
}

namespace {

/// A layer written out, or what stands before and behind the layers.
struct Part {
  std::string prefix;  ///< "layers.7.", or ""
  const LayerSpec* spec = nullptr;
  std::vector<OpId> ops;
};

bool holds(const Op& op, int layer) {
  const int behind = layer - op.first_layer;
  return op.part == ModelPart::layers && behind >= 0 && behind % op.layer_step == 0 &&
         behind / op.layer_step < op.count;
}

std::vector<const LayerSpec*> layers_of(const models::ModelConfig& model) {
  std::vector<const LayerSpec*> layers;
  for (const models::LayerGroup& group : model.layers)
    for (int i = 0; i < group.count; ++i)
      for (const LayerSpec& spec : group.pattern) layers.push_back(&spec);
  return layers;
}

std::vector<Part> parts_of(const Graph& graph, const std::vector<const LayerSpec*>& layers) {
  std::vector<Part> parts{Part{}};
  for (std::size_t i = 0; i < layers.size(); ++i) parts.push_back({fmt::format("layers.{}.", i), layers[i], {}});
  parts.emplace_back();
  for (OpId id = 0; id < graph.ops().size(); ++id) {
    const Op& op = graph.op(id);
    if (op.part == ModelPart::embedding) parts.front().ops.push_back(id);
    if (op.part == ModelPart::head) parts.back().ops.push_back(id);
    for (std::size_t i = 0; i < layers.size(); ++i)
      if (holds(op, static_cast<int>(i))) parts[i + 1].ops.push_back(id);
  }
  return parts;
}

/// "attn.qkv" of "layers.0-31.attn.qkv".
std::string_view within_layer(std::string_view name, ModelPart part) {
  return part == ModelPart::layers ? name.substr(name.find('.', name.find('.') + 1) + 1) : name;
}

std::size_t row_count(const Tensor& tensor) {
  return tensor.shape.size() == 1 ? 1 : whole(tensor.elements() / tensor.shape.back());
}

/// One rank: its place in both meshes and what it holds.
template <class T>
struct Rank {
  RankPlace place;
  std::size_t data = 0;
  std::map<TensorId, Buffer<T>> values;     ///< activations of the part that runs
  Buffer<T> stream;                         ///< what the part before left
  std::map<std::string, Buffer<T>> memory;  ///< caches and states by their name in the layer written out
};

std::size_t rank_count(const models::Sharding& s) {
  return whole(std::max(s.tensor * s.data, s.expert * s.expert_tensor));
}

template <class T>
std::vector<Rank<T>> ranks_of(const models::Sharding& s) {
  std::vector<Rank<T>> ranks(rank_count(s));
  const std::size_t tensor = whole(s.tensor), width = whole(s.expert_tensor), experts = whole(s.expert);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    ranks[r].place = {.tensor = r % tensor, .expert = r / width % experts, .expert_tensor = r % width};
    ranks[r].data = r / tensor;
  }
  return ranks;
}

/// Ranks that exchange data along an axis: equal in everything else. The first of them names the group.
std::size_t group_of(models::MeshAxis axis, const models::Sharding& s, std::size_t rank) {
  const std::size_t tensor = whole(s.tensor), width = whole(s.expert_tensor), experts = whole(s.expert);
  if (axis == models::MeshAxis::tensor) return rank - rank % tensor;
  if (axis == models::MeshAxis::expert_tensor) return rank - rank % width;
  return rank - (rank / width % experts) * width;
}

double bytes_of(const Tensor& tensor, double elements) {
  return tensor.elements() > 0 ? tensor.bytes() * (elements / tensor.elements()) : 0;
}

}  // namespace

template <class T>
struct Executor<T>::State {
  models::ModelConfig model;
  models::Sharding sharding;
  ExecutorOptions options;
  Weights weights;
  std::vector<Rank<T>> ranks;

  // Of the run that goes on.
  const Graph* graph = nullptr;
  Step step;
  const Part* part = nullptr;
  std::vector<bool> written;  ///< tensors that some operator writes
  Execution result;

  State(const models::ModelConfig& m, const models::Sharding& s, const ExecutorOptions& o)
      : model(m), sharding(s), options(o), weights(model, sharding, o.seed), ranks(ranks_of<T>(s)) {}

  std::string_view path_of(const Op& op) const { return within_layer(op.name, op.part); }
  std::string_view path_of(const Tensor& tensor) const {
    return within_layer(tensor.name, part->spec ? ModelPart::layers : ModelPart::head);
  }

  Buffer<T> weight(const Rank<T>& rank, const Tensor& tensor) const {
    const std::vector<double> values = weights.make(part->prefix, path_of(tensor), part->spec, tensor, rank.place);
    Buffer<T> buffer(row_count(tensor), whole(tensor.shape.back()));
    std::transform(values.begin(), values.end(), buffer.data.begin(), [](double v) { return static_cast<T>(v); });
    return buffer;
  }

  /// Values that nobody computed: of a cache or a state before the first run.
  void draw(Buffer<T>& buffer, const std::string& name, std::size_t first_row) const {
    for (std::size_t i = first_row * buffer.width; i < buffer.data.size(); ++i)
      buffer.data[i] = static_cast<T>(unit_value(name, i, options.seed));
  }

  /// Room for the new tokens; old ones stay, missing ones are drawn.
  void lengthen(Buffer<T>& cache, const Tensor& tensor, const std::string& name) const {
    const std::size_t sequences = whole(tensor.shape[0]), past = whole(step.past_tokens),
                      total = past + whole(step.new_tokens);
    const std::size_t held = cache.rows / sequences;
    Buffer<T> longer(sequences * total, whole(tensor.shape.back()));
    if (held < past) draw(longer, name, 0);
    for (std::size_t s = 0; s < sequences; ++s)
      for (std::size_t i = 0; i < std::min(held, past); ++i)
        std::copy_n(cache.row(s * held + i), cache.width, longer.row(s * total + i));
    cache = std::move(longer);
  }

  Buffer<T>& kept(Rank<T>& rank, const Op& op, const Use& use, const Tensor& tensor) const {
    const std::string name = part->prefix + std::string(path_of(tensor));
    Buffer<T>& buffer = rank.memory[name];
    if (tensor.role == Role::kv_cache && op.kind == OpKind::kv_append) lengthen(buffer, tensor, name);
    if (tensor.role == Role::state && buffer.rows == 0) {
      buffer = Buffer<T>(whole(tensor.shape[0]), whole(tensor.shape[1]));
      if (!use.write) draw(buffer, name, 0);
    }
    return buffer;
  }

  /// What was not computed in this part is the stream that enters it.
  Buffer<T>& activation(Rank<T>& rank, const Op& op, const Use& use) const {
    const auto found = rank.values.find(use.tensor);
    const bool in_place =
        std::ranges::any_of(op.uses, [&](const Use& u) { return !u.write && u.tensor == use.tensor; });
    if (!use.write && found == rank.values.end() && written[use.tensor]) return rank.stream;
    if (found != rank.values.end() && (!use.write || in_place)) return found->second;
    const Tensor& tensor = graph->tensor(use.tensor);
    return rank.values[use.tensor] = Buffer<T>(row_count(tensor), whole(tensor.shape.back()));
  }

  Buffer<T>& operand(Rank<T>& rank, const Op& op, const Use& use, std::list<Buffer<T>>& parameters) const {
    const Tensor& tensor = graph->tensor(use.tensor);
    if (tensor.role == Role::weight || tensor.role == Role::expert_weight)
      return parameters.emplace_back(weight(rank, tensor));
    if (tensor.role == Role::kv_cache || tensor.role == Role::state) return kept(rank, op, use, tensor);
    return activation(rank, op, use);
  }

  /// What ends in the rotated keys that a latent attention's heads share: gathered, where the tokens were cut.
  Buffer<T>* latent_keys(Rank<T>& rank) const {
    Buffer<T>* found = nullptr;
    for (auto& [id, buffer] : rank.values)
      if (path_of(graph->tensor(id)).starts_with("attn.kv_a")) found = &buffer;
    return found;
  }

  std::vector<T> sinks(const Rank<T>& rank, const Op& op) const {
    if (op.kind != OpKind::softmax || !part->spec->attention || !part->spec->attention->sinks) return {};
    const std::vector<double> drawn =
        weights.make(part->prefix, "attn.core.sinks", part->spec, {.shape = {op.dims[models::Dim::heads]}}, rank.place);
    return {drawn.begin(), drawn.end()};
  }

  void note(OpCount& count, const OpRun<T>& run, double seconds) const {
    const bool contracts = models::row_of(run.op.kind).contraction;
    count.flops += contracts ? run.products : run.vector;
    count.vector_flops += run.vector;
    count.seconds += seconds;
    std::size_t reads = 0, writes = 0;
    for (std::size_t i = 0; i < run.op.uses.size(); ++i) {
      const Use& use = run.op.uses[i];
      double touched = use.write ? run.writes[writes++].touched() : run.reads[reads++].touched();
      if (use.tensor == run.op.uses[0].tensor) touched += run.aside;
      count.elements[i] += touched;
      if (!use.on_chip) count.bytes += bytes_of(graph->tensor(use.tensor), touched);
    }
  }

  void keep_results(OpRun<T>& run, const Rank<T>& rank) {
    if (rank.place.tensor > 0 || (run.op.kind != OpKind::sampling && run.op.kind != OpKind::cross_entropy)) return;
    const Buffer<T>&logits = run.reads[0].buffer(), &out = run.writes.back().buffer();
    result.logits.insert(result.logits.end(), logits.data.begin(), logits.data.end());
    result.rows += logits.rows;
    result.vocabulary = logits.width;
    for (T value : out.data) {
      if (run.op.kind == OpKind::sampling) result.tokens.push_back(static_cast<double>(value));
      else result.loss += static_cast<double>(value);
    }
  }

  void run_on(Rank<T>& rank, OpId id) {
    const Op& op = graph->op(id);
    OpRun<T> run{
        op, path_of(op), model,   part->spec, step, sharding, options, rank.place, rank.data * whole(step.sequences),
        {}, {},          nullptr, {},         0,    0,        0};
    std::list<Buffer<T>> parameters;
    for (bool writes : {false, true})  // a cache grows before anything of it is looked at
      for (const Use& use : op.uses)
        if (use.write == writes)
          (writes ? run.writes : run.reads)
              .push_back({operand(rank, op, use, parameters), graph->tensor(use.tensor), options.count});
    if (op.kind == OpKind::rotary && part->spec->latent) run.latent_keys = latent_keys(rank);
    run.sinks = sinks(rank, op);
    const auto start = std::chrono::steady_clock::now();
    kernel_of<T>(op.kind)(run);
    note(result.ops[id], run, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    keep_results(run, rank);
  }

  Diagnostics exchange(OpId id) {
    const Op& op = graph->op(id);
    if (op.communication->backward_only) return {};
    std::map<std::size_t, std::vector<Member<T>>> groups;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      Buffer<T>& in = activation(ranks[r], op, op.uses.front());
      groups[group_of(op.communication->axis, sharding, r)].push_back(
          {&in, &activation(ranks[r], op, op.uses.back()), r});
    }
    const double experts = part->spec && part->spec->moe ? part->spec->moe->experts() : 1;
    const auto start = std::chrono::steady_clock::now();
    for (auto& [first, group] : groups)
      if (!run_collective(op, path_of(op), group, experts))
        return {{{}, fmt::format("the collective {} is not executed", op.name), "", Fault::input}};
    OpCount& count = result.ops[id];
    count.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (auto& [first, group] : groups)
      for (Member<T>& member : group) {
        count.elements.front() += static_cast<double>(member.in->data.size());
        count.elements.back() += static_cast<double>(member.out->data.size());
        count.bytes += bytes_of(graph->tensor(op.uses.front().tensor),
                                static_cast<double>(member.in->data.size() + member.out->data.size()));
      }
    return {};
  }

  Diagnostics run_part() {
    for (Rank<T>& rank : ranks) rank.values.clear();
    for (OpId id : part->ops) {
      result.ops[id].executions += 1;
      if (graph->op(id).kind == OpKind::collective) {
        if (const Diagnostics failed = exchange(id); !failed.empty()) return failed;
      } else {
        for (Rank<T>& rank : ranks) run_on(rank, id);
      }
    }
    const auto& uses = graph->op(part->ops.back()).uses;
    const auto last = std::ranges::find_if(uses, [](const Use& use) { return use.write; });
    for (Rank<T>& rank : ranks) rank.stream = std::move(rank.values[last->tensor]);
    return {};
  }

  Result<Execution> run(const Graph& g, const Step& s) {
    graph = &g, step = s;
    result = {};
    result.ops.resize(g.ops().size());
    written.assign(g.tensors().size(), false);
    for (OpId id = 0; id < g.ops().size(); ++id) {
      result.ops[id].elements.resize(g.op(id).uses.size());
      for (const Use& use : g.op(id).uses)
        if (use.write) written[use.tensor] = true;
    }
    for (const Part& next : parts_of(g, layers_of(model))) {
      part = &next;
      if (Diagnostics failed = run_part(); !failed.empty()) return fail(std::move(failed));
    }
    if (result.rows > 0) result.loss /= static_cast<double>(result.rows);
    return std::move(result);
  }
};

template <class T>
Executor<T>::Executor(const models::ModelConfig& model, const models::Sharding& sharding,
                      const ExecutorOptions& options)
    : state_(std::make_unique<State>(model, sharding, options)) {}
template <class T>
Executor<T>::Executor(Executor&&) noexcept = default;
template <class T>
Executor<T>::~Executor() = default;

template <class T>
Result<Execution> Executor<T>::run(const Graph& graph, const Step& step) {
  if (Diagnostics problems = check_executable(state_->model, state_->sharding, graph, step); !problems.empty())
    return fail(std::move(problems));
  return state_->run(graph, step);
}

template class Executor<double>;
template class Executor<float>;

}  // namespace gambrel::kernels
