// The reductions between a backward pass and the next forward pass, in rank order.
#include "kernels/executor/training.hpp"

#include <chrono>
#include <cmath>

namespace gambrel::kernels {
namespace {

template <class T>
std::map<std::string, std::vector<double>> widened(const std::map<std::string, std::vector<T>>& values) {
  std::map<std::string, std::vector<double>> result;
  for (const auto& [name, of_name] : values) result[name] = {of_name.begin(), of_name.end()};
  return result;
}

/// Part `i` of `n` of so many elements, as even as can be.
std::size_t part_begin(std::size_t elements, std::size_t i, std::size_t n) { return elements * i / n; }

}  // namespace

template <class T>
template <class Each>
void Training<T>::each_part(Each each) const {
  for (const auto& [name, trainable] : machine_.trainable)
    for (auto& ranks : machine_.ranks_of_stage)
      for (Rank<T>& rank : ranks)
        if (rank.weights.contains(name)) each(HeldPart{rank, name, machine_.places(trainable, rank)});
}

template <class T>
std::map<std::string, std::vector<T>> Training<T>::whole(Named<T> Rank<T>::*which, bool adds) const {
  std::map<std::string, std::vector<T>> result;
  each_part([&](const HeldPart& part) {
    const auto found = (part.rank.*which).find(part.held);
    const Weights::Placement& places = part.places;
    std::vector<std::vector<T>*> wholes;
    for (const std::string& name : places.names) wholes.push_back(&result[name]);
    for (std::size_t i = 0; i < places.at.size(); ++i) {
      if (places.at[i] == Weights::Placement::nowhere) continue;
      std::vector<T>& values = *wholes[places.name[i]];
      if (values.size() <= places.at[i]) values.resize(places.at[i] + 1);
      if (found == (part.rank.*which).end()) continue;
      if (!adds) values[places.at[i]] = found->second.data[i];
      else if (places.counts) values[places.at[i]] += found->second.data[i];
    }
  });
  return result;
}

template <class T>
typename Training<T>::Whole Training<T>::gradients() const {
  return widened(whole(&Rank<T>::gradients, true));
}

template <class T>
typename Training<T>::Whole Training<T>::weights() const {
  return widened(whole(&Rank<T>::weights, false));
}

template <class T>
void Training<T>::nudge(const std::string& wanted, const std::vector<double>& by) {
  each_part([&](const HeldPart& part) {
    const auto name = std::ranges::find(part.places.names, wanted);
    if (name == part.places.names.end()) return;
    const auto which = static_cast<std::size_t>(name - part.places.names.begin());
    Values<T>& values = part.rank.weights.find(part.held)->second.data;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (part.places.name[i] == which && part.places.at[i] != Weights::Placement::nowhere)
        values[i] += static_cast<T>(by[part.places.at[i]]);
    part.rank.packed.clear();
  });
}

// Each shard's part by itself: no element's new value depends on how many there are.
template <class T>
void Training<T>::step(const std::string& name, std::vector<T>& weights, const std::vector<T>& gradients,
                       const Adam& adam, double scale, std::size_t shards) {
  Moments<T>& m = moments_[name];
  if (m.first.size() != shards) {
    m = {};
    for (std::size_t s = 0; s < shards; ++s)
      m.first.emplace_back(part_begin(weights.size(), s + 1, shards) - part_begin(weights.size(), s, shards));
    m.second = m.first;
  }
  m.steps += 1;
  const T one = static_cast<T>(1 - adam.beta1), two = static_cast<T>(1 - adam.beta2),
          first_bias = static_cast<T>(1 - std::pow(adam.beta1, m.steps)),
          second_bias = static_cast<T>(1 - std::pow(adam.beta2, m.steps));
  for (std::size_t s = 0; s < shards; ++s)
    for (std::size_t i = 0, begin = part_begin(weights.size(), s, shards); i < m.first[s].size(); ++i) {
      const T g = gradients[begin + i] * static_cast<T>(scale);
      T &first = m.first[s][i], &second = m.second[s][i];
      first += one * (g - first), second += two * (g * g - second);
      weights[begin + i] -= static_cast<T>(adam.learning_rate) * (first / first_bias) /
                            (std::sqrt(second / second_bias) + static_cast<T>(adam.epsilon));
    }
}

/// An operator of the optimizer's graph over all parameters of its role and format.
template <class T>
OpCount Training<T>::counted(const models::Op& op, double elements, double seconds) const {
  OpCount count{.executions = 1, .flops = elements * op.dims[models::Dim::terms], .seconds = seconds};
  count.vector_flops = count.flops;
  for (const models::Use& use : op.uses) count.elements.push_back(use.elements == 1 ? 1 : elements);
  return count;
}

template <class T>
Result<Execution> Training<T>::update(const models::Graph& optimizer, const Adam& adam, std::size_t shards) {
  if (machine_.trainable.empty())
    return fail({{}, "there are no gradients to update weights with", "train first", Fault::input});
  const auto start = std::chrono::steady_clock::now();
  const auto gradients = whole(&Rank<T>::gradients, true);
  auto weights = whole(&Rank<T>::weights, false);
  double squares = 0;
  std::map<models::Role, double> elements;
  for (const auto& [name, values] : gradients) {
    const bool expert = name.find("moe.experts.") != name.npos;
    elements[expert ? models::Role::expert_weight : models::Role::weight] += static_cast<double>(values.size());
    for (T g : values) squares += static_cast<double>(g * g);
  }
  const double norm = std::sqrt(squares);
  const double scale = adam.largest_norm > 0 && norm > adam.largest_norm ? adam.largest_norm / norm : 1;
  for (auto& [name, values] : weights) step(name, values, gradients.at(name), adam, scale, std::max<std::size_t>(1, shards));
  each_part([&](const HeldPart& part) {
    Values<T>& values = part.rank.weights.find(part.held)->second.data;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (part.places.at[i] != Weights::Placement::nowhere)
        values[i] = weights.at(part.places.names[part.places.name[i]])[part.places.at[i]];
  });
  for (auto& ranks : machine_.ranks_of_stage)
    for (Rank<T>& rank : ranks) rank.gradients.clear(), rank.packed.clear();
  Execution done;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const models::Op& op : optimizer.ops()) {
    const bool expert = op.name.find("expert.") != op.name.npos;
    done.ops.push_back(counted(op, elements[expert ? models::Role::expert_weight : models::Role::weight],
                               seconds / static_cast<double>(optimizer.ops().size())));
  }
  return done;
}

template class Training<double>;
template class Training<float>;

}  // namespace gambrel::kernels
