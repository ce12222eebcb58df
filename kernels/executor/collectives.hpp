// Inside kernels/ only: one collective among the ranks of a group, forward or as the transpose that gradients take.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {

/// What a rank puts in or gets out: of wider matrices the last `columns`.
template <class T>
struct Piece {
  Buffer<T>* buffer;
  std::size_t columns;
};

/// One rank's side.
template <class T>
struct Member {
  std::vector<Piece<T>> in, out;
  MeshPlace place;
  RankTokens tokens;
};

/// A collective of one group of ranks. `adjoint`: what is summed was copied forward and the other way round; `in` and `out` are
/// gradients then.
template <class T>
struct Exchange {
  const models::Op& op;
  std::string_view path;  ///< of the forward's operator: "attn.in.all_gather"
  CollectiveKind kind;    ///< of the forward's operator
  bool adjoint;
  const models::ModelConfig& model;
  const models::LayerSpec* spec;
  const models::Sharding& sharding;
  const models::Step& step;
  const Weights& weights;
  LayerCut cut;
  std::vector<Member<T>> group;
};

/// Moves the data. False: this collective is not one that the executor knows.
template <class T>
bool run_collective(Exchange<T>& exchange);

}  // namespace gambrel::kernels
