// Inside kernels/ only: the Mamba-2 mixer's widths on one rank.
#pragma once

#include <cmath>

#include "kernels/executor/row_kernels.hpp"

namespace gambrel::kernels {

/// Heads and groups of one rank; a projected row is z, x, B, C, dt.
struct Mixer {
  std::size_t heads, head_dim, groups, state, inner, channels;
};

template <class T>
Mixer mixer_of(const OpRun<T>& run) {
  const models::Mamba& m = *run.spec->mamba;
  const double ranks = static_cast<double>(run.cut.columns) * (run.swaps_state() ? run.sharding.context : 1);
  const std::size_t heads = whole(m.heads / ranks), groups = whole(std::max(1.0, m.groups / ranks));
  const std::size_t inner = heads * whole(m.head_dim), state = whole(m.state);
  return {heads, whole(m.head_dim), groups, state, inner, inner + 2 * groups * state};
}

template <class T>
T softplus(T x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

/// This rank's part of the convolution's weights, `kernel` a channel.
template <class T>
std::vector<T> conv_weights(const OpRun<T>& run, View<T>& view, std::size_t kernel) {
  std::vector<T> w;
  for (std::size_t c : own_indices(run, "mamba.conv.bias")) {
    const T* of_channel = view.at(0, c * kernel, kernel);
    w.insert(w.end(), of_channel, of_channel + kernel);
  }
  return w;
}

}  // namespace gambrel::kernels
