// Collectives: who takes part, what is exchanged, and the ones that a kernel's own statistics need.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "kernels/executor/machine.hpp"
#include "kernels/executor/norms.hpp"

namespace gambrel::kernels {

using models::Op;
using models::OpKind;
using models::Tensor;
using models::Use;

namespace {

/// What a member put in and got.
template <class T>
void count_pieces(OpCount& count, const Running& running, const Member<T>& member) {
  std::size_t in = 0, out = 0;
  for (std::size_t i = 0; i < running.op.uses.size(); ++i) {
    const Use& use = running.op.uses[i];
    const Piece<T>& piece = use.write ? member.out[out++] : member.in[in++];
    const double moved = static_cast<double>(piece.buffer->rows * std::min(piece.columns, piece.buffer->width));
    count.elements[i] += moved;
    if (!use.on_chip) count.bytes += bytes_of(running.graph.tensor(use.tensor), moved);
  }
}

}  // namespace

template <class T>
Buffer<T>* Machine<T>::value_of(Rank<T>& rank, std::string_view path) const {
  for (auto& [id, buffer] : rank.values)
    if (path_of(forward->tensor(id).name) == path) return &buffer;
  return nullptr;
}

/// Of a vocabulary that ranks share: the largest logit, the sum, the target's, and with them everybody's probabilities.
template <class T>
void Machine<T>::join_losses(std::vector<std::pair<Rank<T>*, Member<T>>>& group) {
  const std::size_t rows = group[0].second.in[0].buffer->rows;
  for (std::size_t row = 0; row < rows; ++row) {
    T largest = -std::numeric_limits<T>::infinity(), sum = 0, target = 0;
    for (auto& [rank, member] : group) largest = std::max(largest, member.in[0].buffer->row(row)[0]);
    for (auto& [rank, member] : group) {
      const T* x = member.in[0].buffer->row(row);
      sum += x[1] * std::exp(x[0] - largest), target += x[2];
    }
    for (auto& [rank, member] : group) {
      T* x = member.in[0].buffer->row(row);
      Buffer<T>& probabilities = *value_of(*rank, "loss.probabilities");
      const T factor = x[1] * std::exp(x[0] - largest) / sum;
      for (std::size_t i = 0; i < probabilities.width; ++i) probabilities.row(row)[i] *= factor;
      x[0] = largest, x[1] = sum, x[2] = target;
    }
    losses_[group[0].first->tokens.token(row, 0)] = static_cast<double>(std::log(sum) + largest - target);
  }
}

/// Results over a part of the keys each, scaled so that they add up: what goes round are maxima, then sums.
template <class T>
void Machine<T>::join_attention(std::vector<std::pair<Rank<T>*, Member<T>>>& group) {
  Buffer<T>& first = *group[0].second.in[0].buffer;
  const std::size_t heads = first.width / 2;
  for (std::size_t row = 0; row < first.rows; ++row)
    for (std::size_t h = 0; h < heads; ++h) {
      T largest = -std::numeric_limits<T>::infinity(), sum = 0;
      for (auto& [rank, member] : group) largest = std::max(largest, member.in[0].buffer->row(row)[2 * h]);
      for (auto& [rank, member] : group) {
        const T* x = member.in[0].buffer->row(row) + 2 * h;
        sum += x[1] * std::exp(x[0] - largest);
      }
      for (auto& [rank, member] : group) {
        T* x = member.in[0].buffer->row(row) + 2 * h;
        Buffer<T>* out = value_of(*rank, "attn.core");
        if (!out) out = value_of(*rank, "attn.values");
        const std::size_t width = out->width / heads;
        const T factor = x[1] * std::exp(x[0] - largest) / sum;
        for (std::size_t i = 0; i < width; ++i) out->row(row)[h * width + i] *= factor;
        x[0] = largest, x[1] = sum;
      }
    }
}

/// The norm that reads what `statistics` adds up.
template <class T>
const Op& Machine<T>::normed_by(const Op& statistics) const {
  const std::string norm = statistics.name.substr(0, statistics.name.rfind('.'));
  return *std::ranges::find_if(forward->ops(), [&](const Op& op) { return op.name == norm; });
}

template <class T>
Diagnostics Machine<T>::run_collective_op(const Running& running, const Lookup& lookup) {
  const Op& op = running.op;
  const models::Communication& c = *op.communication;
  const bool statistics = models::OpKind::collective == op.kind && running.forward.name.ends_with(".statistics");
  std::list<Buffer<T>> drawn;
  std::map<std::size_t, std::vector<std::pair<Rank<T>*, Member<T>>>> groups;
  for (std::size_t r = 0; r < ranks().size(); ++r) {
    Rank<T>& rank = ranks()[r];
    Member<T> member{.in = {}, .out = {}, .place = rank.mesh, .tokens = rank.tokens};
    for (const Use& use : op.uses) {
      const Tensor& t = running.graph.tensor(use.tensor);
      Buffer<T>& buffer = lookup(rank, use, drawn);
      const double share = t.elements() > 0 ? std::min(1.0, use.elements / t.elements()) : 1;
      const std::size_t columns = whole(t.shape.back() * share);
      (use.write ? member.out : member.in).push_back({&buffer, columns});
    }
    groups[mesh.group(c.axis, whole(c.ranks), whole(c.stride), r)].push_back({&rank, std::move(member)});
  }
  const auto start = std::chrono::steady_clock::now();
  for (auto& [key, group] : groups) {
    if (running.path == "loss.all_reduce") {
      join_losses(group);
      continue;
    }
    if (running.path == "attn.core.statistics.all_reduce") {
      join_attention(group);
      continue;
    }
    if (statistics) {  // adds up what each rank finds in its part of the rows
      const Op& norm = normed_by(running.forward);
      const bool centres = norm.kind == OpKind::layer_norm;
      const auto path = path_of(norm.name);
      for (auto& [rank, member] : group) {
        const auto sections = norm_sections(path, model, part->spec, cut_of(model, shares, part->spec, path), whole(norm.dims[models::Dim::n]));
        *member.out[0].buffer = norm_sums(*member.in[0].buffer, sections, centres);
        member.in = member.out;
      }
    }
    Exchange<T> exchange{.op = op, .path = running.path, .kind = running.forward.communication->kind,
                         .adjoint = running.suffix == "backward" && !running.forward.communication->backward_only,
                         .model = model, .spec = part->spec, .sharding = sharding, .step = step, .weights = weights,
                         .cut = cut_of(model, shares, part->spec, running.path), .group = {}};
    for (auto& [rank, member] : group) exchange.group.push_back(member);
    if (!run_collective(exchange))
      return {{{}, fmt::format("the collective {} is not executed", op.name), "", Fault::input}};
  }
  OpCount& count = result.ops[running.id];
  count.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (auto& [key, group] : groups)
    for (auto& [rank, member] : group) count_pieces(count, running, member);
  weigh();
  return {};
}

#define INSTANTIATE(T)                                                                                   \
  template Buffer<T>* Machine<T>::value_of(Rank<T>&, std::string_view) const;                            \
  template void Machine<T>::join_losses(std::vector<std::pair<Rank<T>*, Member<T>>>&);                   \
  template void Machine<T>::join_attention(std::vector<std::pair<Rank<T>*, Member<T>>>&);                \
  template const Op& Machine<T>::normed_by(const Op&) const;                                             \
  template Diagnostics Machine<T>::run_collective_op(const Running&, const Lookup&);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace gambrel::kernels
