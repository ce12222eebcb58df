// Inside kernels/ only: whole weights and gradients put together from the ranks' parts, and Adam's step on them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/executor/machine.hpp"

namespace gambrel::kernels {

/// Adam's moments of a whole weight: each shard holds those of its part, one behind the other.
template <class T>
struct Moments {
  std::vector<std::vector<T>> first, second;
  double steps = 0;
};

template <class T>
class Training {
 public:
  Training(Machine<T>& machine, std::map<std::string, Moments<T>>& moments) : machine_(machine), moments_(moments) {}

  using Whole = std::map<std::string, std::vector<double>>;
  Whole gradients() const;
  Whole weights() const;
  void nudge(const std::string& name, const std::vector<double>& by);
  Result<Execution> update(const models::Graph& optimizer, const Adam& adam, std::size_t shards);

 private:
  /// Where a part of whole weights is held: the elements of `held` in the places of the whole ones.
  struct HeldPart {
    Rank<T>& rank;
    const std::string& held;
    Weights::Placement places;
  };
  template <class Each>
  void each_part(Each each) const;
  /// What all parts of `which` (weights, or gradients, which add up) make together.
  std::map<std::string, std::vector<T>> whole(Named<T> Rank<T>::*which, bool adds) const;
  void step(const std::string& name, std::vector<T>& weights, const std::vector<T>& gradients, const Adam& adam,
            double scale, std::size_t shards);
  OpCount counted(const models::Op& op, double elements, double seconds) const;

  Machine<T>& machine_;
  std::map<std::string, Moments<T>>& moments_;
};

extern template class Training<double>;
extern template class Training<float>;

}  // namespace gambrel::kernels
