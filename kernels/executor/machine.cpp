// Operands found, kernels called, what they touched noted.
#include "kernels/executor/machine.hpp"

#include <chrono>
#include <ctime>

#include "kernels/executor/numerics.hpp"

namespace gambrel::kernels {

using models::Graph;
using models::Op;
using models::OpKind;
using models::Role;
using models::Tensor;
using models::Use;

namespace {

template <class To, class From>
Values<To> converted(const std::vector<From>& values) {
  Values<To> result(values.size());
  std::ranges::transform(values, result.begin(), [](From v) { return static_cast<To>(v); });
  return result;
}

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Seconds of a kernel. `alone`: this thread does all of it, so that of what lasts longer than a scheduler's slice, its own time on
/// the CPU counts, as in a calibration (kernels/suite/survey.cpp).
template <class Body>
double timed(bool alone, const Body& body) {
  constexpr double slice_s = 4e-3;
  const double before = alone ? thread_seconds() : 0;
  const auto start = Clock::now();
  body();
  const double wall = since(start);
  return alone && wall > slice_s ? std::min(wall, thread_seconds() - before) : wall;
}

template <class T>
std::size_t held(const Named<T>& named) {
  std::size_t bytes = 0;
  for (const auto& [name, buffer] : named) bytes += buffer.bytes();
  return bytes;
}

}  // namespace

template <class T>
Machine<T>::Machine(const models::ModelConfig& m, const models::Sharding& s, const ExecutorOptions& o)
    : model(m), sharding(s), options(o),
      weights(model, sharding, o.seed, o.numerics ? o.numerics->source() : nullptr),
      mesh(s) {
  ranks_of_stage.assign(std::max<std::size_t>(1, o.pipeline), std::vector<Rank<T>>(mesh.size()));
  for (auto& stage_ranks : ranks_of_stage)
    for (std::size_t r = 0; r < stage_ranks.size(); ++r) {
      const MeshPlace place = stage_ranks[r].mesh = mesh.place(r);
      stage_ranks[r].place = {place.tensor, place.expert, place.expert_tensor, place.context};
    }
}

template <class T>
void Machine<T>::begin(const Graph& f, const Graph& running, const models::Step& s) {
  forward = &f, step = s;
  shares = models::shares_of(model, step, sharding);
  result = {};
  result.ops.resize(running.ops().size());
  for (models::OpId id = 0; id < running.ops().size(); ++id)
    result.ops[id].elements.resize(running.op(id).uses.size());
  logits_.clear(), tokens_.clear(), losses_.clear();
  for (auto& stage_ranks : ranks_of_stage)
    for (Rank<T>& rank : stage_ranks) {
      rank.tokens = {.first_sequence = (rank.mesh.data * batch.count + batch.index) * whole(step.sequences),
                     .sequences = whole(step.sequences),
                     .positions = zigzag(whole(step.past_tokens), whole(step.new_tokens), whole(sharding.context), rank.mesh.context)};
    }
}

template <class T>
std::size_t Machine<T>::stage_of(std::size_t index, std::size_t parts) const {
  const std::size_t layers = parts - 2, stages = ranks_of_stage.size();
  if (index == 0) return 0;
  return index > layers ? stages - 1 : (index - 1) * stages / layers;
}

template <class T>
void Machine<T>::enter(const Part& next, std::size_t now) {
  part = &next;
  if (now == stage) return;
  for (std::size_t r = 0; r < mesh.size(); ++r)  // handed over to the next stage, or its gradient back to the one before
    ranks_of_stage[now][r].stream = std::move(ranks_of_stage[stage][r].stream);
  stage = now;
}

template <class T>
bool Machine<T>::is_weight(const Tensor& t) const {
  return t.role == Role::weight || t.role == Role::expert_weight;
}

template <class T>
Buffer<T> Machine<T>::drawn_weight(const Rank<T>& rank, const Op& op, const Tensor& tensor) const {
  const auto path = path_of(tensor.name);
  const auto draw = [&] {
    return weights.make(part->prefix, path, part->spec, tensor, rank.place, cut_of(model, shares, part->spec, path));
  };
  Buffer<T> buffer;
  buffer.rows = row_count(tensor), buffer.width = whole(tensor.shape.back());
  if constexpr (std::is_same_v<T, float>)
    if (options.numerics) {
      const auto single = [&] {
        const std::vector<double> values = draw();
        return std::vector<float>(values.begin(), values.end());
      };
      buffer.data = converted<T>(options.numerics->weight(full_name(tensor.name), op, tensor, single));
      return buffer;
    }
  buffer.data = converted<T>(draw());
  return buffer;
}

template <class T>
Buffer<T>& Machine<T>::weight(Rank<T>& rank, const Op& op, const Tensor& tensor, std::list<Buffer<T>>& drawn) {
  if (!options.keep_weights) return drawn.emplace_back(drawn_weight(rank, op, tensor));
  const auto [it, added] = rank.weights.try_emplace(full_name(tensor.name));
  if (added) it->second = drawn_weight(rank, op, tensor);
  return it->second;
}

template <class T>
Buffer<T>& Machine<T>::gradient(Rank<T>& rank, const Tensor& weight) {
  const std::string name = full_name(weight.name);
  const auto [it, added] = rank.gradients.try_emplace(name);
  if (!added) return it->second;
  const std::string path(path_of(weight.name));
  trainable.try_emplace(name, Trainable{part->prefix, path, part->spec, weight,
                                        cut_of(model, shares, part->spec, path), stage});
  return it->second = Buffer<T>(row_count(weight), whole(weight.shape.back()));
}

template <class T>
Weights::Placement Machine<T>::places(const Trainable& weight, const Rank<T>& rank) const {
  return weights.places(weight.prefix, weight.path, weight.spec, weight.tensor, rank.place, weight.cut);
}

template <class T>
void Machine<T>::round_drawn(Buffer<T>& buffer, const Tensor& tensor) const {
  if constexpr (std::is_same_v<T, float>)
    if (options.numerics) options.numerics->drawn(*part->spec, tensor, buffer.data);
}

template <class T>
void Machine<T>::draw(Buffer<T>& buffer, const std::string& name) const {
  for (std::size_t i = 0; i < buffer.data.size(); ++i) buffer.data[i] = static_cast<T>(unit_value(name, i, options.seed));
}

/// The past tokens that this rank keeps: those it has, or what is drawn where nobody ran them. Behind those of each sequence there is
/// room for the new ones, which their operator writes (context ranks, who keep some of them, make room there).
template <class T>
void Machine<T>::fill_cache(Rank<T>& rank, Buffer<T>& cache, const Tensor& tensor, const std::string& name) const {
  const std::size_t sequences = whole(tensor.shape[0]), past = whole(step.past_tokens), ranks = whole(sharding.context);
  const std::size_t coming = ranks > 1 ? 0 : whole(step.new_tokens);
  const std::size_t expected = std::ranges::count_if(cache.places, [&](std::size_t place) { return place < past; });
  const bool complete = !cache.places.empty() && cache.rows == sequences * cache.places.size() &&
                        (expected == past || (ranks > 1 && expected > 0));
  if (complete && ranks == 1 && cache.places.size() == past + coming) return cache.places.resize(past);  // the same step again
  std::vector<std::size_t> rows, places;  // of a sequence that are kept, and where its tokens stand
  const std::size_t held = complete ? cache.places.size() : past;
  for (std::size_t i = 0; i < held; ++i)
    if (complete ? cache.places[i] < past : i % ranks == rank.mesh.context) rows.push_back(i), places.push_back(complete ? cache.places[i] : i);
  Buffer<T> drawn;
  if (!complete) drawn = Buffer<T>(sequences * past, whole(tensor.shape.back())), draw(drawn, name), round_drawn(drawn, tensor);
  const Buffer<T>& from = complete ? cache : drawn;
  Buffer<T> filled(sequences * (rows.size() + coming), whole(tensor.shape.back()));
  for (std::size_t s = 0; s < sequences; ++s)
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::copy_n(from.row(s * held + rows[i]), from.width, filled.row(s * (rows.size() + coming) + i));
  filled.places = std::move(places);
  cache = std::move(filled);
}

template <class T>
Buffer<T>& Machine<T>::memory(Rank<T>& rank, const Op& op, const Use& use, const Tensor& tensor) {
  const std::string name = full_name(tensor.name);
  Buffer<T>& buffer = rank.memory[name];
  if (tensor.role == Role::kv_cache && op.kind == OpKind::kv_append) fill_cache(rank, buffer, tensor, name);
  if (tensor.role == Role::state && buffer.rows == 0) {
    buffer = Buffer<T>(whole(tensor.shape[0]), whole(tensor.shape[1]));
    if (!use.write) draw(buffer, name), round_drawn(buffer, tensor);
  }
  return buffer;
}

/// A softmax in memory takes part in what the scores before it read.
template <class T>
std::vector<T> Machine<T>::sinks(Rank<T>& rank, const Op& op) {
  if (op.kind != OpKind::softmax || !part->spec->attention || !part->spec->attention->sinks) return {};
  for (const Tensor& t : forward->tensors())
    if (t.name.ends_with("attn.core.sinks") && t.name.starts_with(op.name.substr(0, op.name.find("attn.")))) {
      std::list<Buffer<T>> drawn;
      const Buffer<T>& held_sinks = weight(rank, op, t, drawn);
      return {held_sinks.data.begin(), held_sinks.data.end()};
    }
  return {};
}

/// Weights in the order that fast products want, before the clock starts.
template <class T>
void Machine<T>::pack(Rank<T>& rank, OpRun<T>& run) {
  if constexpr (std::is_same_v<T, float>) {
    const FastKernels* fast = options.fast;
    const bool grouped = run.op.kind == OpKind::grouped_gemm || run.op.kind == OpKind::expert_ffn;
    if (!fast || !fast->pack || !fast->gemm || options.numerics || (run.op.kind != OpKind::gemm && !grouped)) return;
    std::vector<FastKernels::Packed> fresh;
    const std::string name = part->prefix + std::string(run.path);
    auto& packed = options.keep_weights ? rank.packed[name] : fresh;
    const std::size_t groups = grouped ? run.dim(models::Dim::groups) : 1;
    const std::size_t matrices = run.op.kind == OpKind::expert_ffn ? 2 : 1;
    for (std::size_t g = 0; packed.size() < groups * matrices; ++g)
      for (std::size_t m = 0; m < matrices; ++m) {
        Buffer<T>& w = run.reads[1 + m].buffer();
        const std::size_t n = w.rows / groups, rows = std::max<std::size_t>(1, run.reads[0].rows() / groups);
        packed.push_back(fast->pack(w.row(g * n), rows, n, w.width));
      }
    run.packed = packed;
  } else {
    (void)rank, (void)run;
  }
}

template <class T>
void Machine<T>::note(OpCount& count, const OpRun<T>& run, double seconds) const {
  const bool contracts = models::row_of(run.op.kind).contraction;
  count.flops += contracts ? run.products : run.vector;
  count.vector_flops += run.vector;
  count.seconds += seconds;
  std::size_t reads = 0, writes = 0;
  for (std::size_t i = 0; i < run.op.uses.size(); ++i) {
    const Use& use = run.op.uses[i];
    const View<T>& view = use.write ? run.writes[writes++] : run.reads[reads++];
    count.elements[i] += view.touched();
    if (!use.on_chip) count.bytes += bytes_of(*view.tensor, view.touched());
  }
}

template <class T>
void Machine<T>::keep_results(OpRun<T>& run, const Rank<T>& rank) {
  const bool samples = run.op.kind == OpKind::sampling;
  if (!samples && (run.op.kind != OpKind::cross_entropy || &run.op != &run.forward)) return;
  const View<T>&logits = run.reads[0], &out = run.writes.back();
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const Token token = run.token(logits, row);
    std::vector<double>& all = logits_[token];
    all.resize(whole(model.vocab));
    const std::size_t first = samples ? 0 : rank.place.tensor * logits.width();
    std::copy_n(logits.buffer().row(row), logits.width(), all.begin() + static_cast<std::ptrdiff_t>(first));
    if (samples) tokens_[token] = static_cast<double>(out.buffer().row(row)[0]);
    else if (out.width() == 1) losses_[token] = static_cast<double>(out.buffer().row(row)[0]);
  }
}

template <class T>
void Machine<T>::run_op(const Running& running, const Lookup& lookup) {
  const Kernel<T> kernel = running.suffix.empty() ? kernel_of<T>(running.op.kind)
                                                  : backward_kernel_of<T>(running.forward.kind, running.suffix);
  for (Rank<T>& rank : ranks()) {
    OpRun<T> run{.op = running.op, .path = running.path, .graph = *forward, .forward = running.forward, .model = model,
                 .spec = part->spec, .step = step, .sharding = sharding, .options = options, .place = rank.place,
                 .cut = cut_of(model, shares, part->spec, running.path), .weights = weights, .tokens = rank.tokens,
                 .reads = {}, .writes = {}, .sinks = {},
                 .loss_scale = 1 / (step.tokens() * sharding.data * static_cast<double>(batch.count))};
    std::list<Buffer<T>> drawn;
    for (bool writes : {false, true})
      for (const Use& use : running.op.uses)
        if (use.write == writes)
          (writes ? run.writes : run.reads)
              .push_back({lookup(rank, use, drawn), running.graph.tensor(use.tensor), options.count});
    run.sinks = sinks(rank, running.forward);
    pack(rank, run);
    const double seconds = timed(options.fast != nullptr, [&] { kernel(run); });
    if constexpr (std::is_same_v<T, float>)
      if (options.numerics) options.numerics->results(part->prefix, run);
    note(result.ops[running.id], run, seconds);
    keep_results(run, rank);
    std::size_t aside = 0;
    for (const Buffer<T>& buffer : drawn) aside += buffer.bytes();
    weigh(aside);
  }
}

template <class T>
void Machine<T>::weigh(std::size_t more) {
  std::size_t bytes = more;
  for (const auto& stage_ranks : ranks_of_stage)
    for (const Rank<T>& rank : stage_ranks) {
      bytes += rank.stream.bytes() + held(rank.memory) + held(rank.weights) + held(rank.gradients);
      for (const auto& [id, buffer] : rank.values) bytes += buffer.bytes();
      for (const Named<T>& kept : rank.kept) bytes += held(kept);
    }
  result.peak_bytes = std::max(result.peak_bytes, static_cast<double>(bytes));
}

template <class T>
Execution Machine<T>::take() {
  for (const auto& [token, row] : logits_) result.logits.insert(result.logits.end(), row.begin(), row.end());
  result.rows = logits_.size();
  result.vocabulary = whole(model.vocab);
  for (const auto& [token, id] : tokens_) result.tokens.push_back(id);
  for (const auto& [token, loss] : losses_) result.loss += loss;
  if (!losses_.empty()) result.loss /= static_cast<double>(losses_.size());
  return std::move(result);
}

template class Machine<double>;
template class Machine<float>;

}  // namespace gambrel::kernels
