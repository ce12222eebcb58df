// Inside kernels/ only: which elements of a row a norm takes together.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {

/// `width` elements from `first` on, with the gains from `gain` on.
struct NormSection {
  std::size_t first, width, gain;
  double of;         ///< elements that the mean is over: those of other ranks too
  double share = 1;  ///< of their sum that counts here, where several ranks have the same ones
};

/// Heads of queries and keys each by itself, or all of each kind; state-space groups; else the whole row of `n`.
std::vector<NormSection> norm_sections(std::string_view path, const models::ModelConfig& model,
                                       const models::LayerSpec* spec, LayerCut cut, std::size_t n);

/// What ranks add up before they can norm a row that they share: of each section the squares, or (one section, `centres`) the
/// elements and their squares.
template <class T>
Buffer<T> norm_sums(const Buffer<T>& x, const std::vector<NormSection>& sections, bool centres);

}  // namespace gambrel::kernels
