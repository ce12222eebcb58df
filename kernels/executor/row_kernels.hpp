// Inside kernels/ only: functions of one element, and of a rank's part of small parameters, that kernels and their gradients share.
#pragma once

#include <cmath>
#include <numbers>
#include <string_view>
#include <vector>

#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {

template <class T>
T sigmoid(T x) {
  return 1 / (1 + std::exp(-x));
}

template <class T>
T gelu_of(T x) {
  const T root = static_cast<T>(std::sqrt(2 / std::numbers::pi));
  return x / 2 * (1 + std::tanh(root * (x + static_cast<T>(0.044715) * x * x * x)));
}

/// Pairs (i, i + width / 2) turned by position x base^(-2 i / width).
template <class T>
void turn(T* x, std::size_t width, double position, double base) {
  for (std::size_t i = 0; i < width / 2; ++i) {
    const double angle = position * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
    const T c = static_cast<T>(std::cos(angle)), s = static_cast<T>(std::sin(angle)), a = x[i], b = x[i + width / 2];
    x[i] = a * c - b * s;
    x[i + width / 2] = b * c + a * s;
  }
}

/// Of a small parameter that all context ranks hold, indices of the elements that belong to this rank's heads, swapped for tokens.
template <class T>
std::vector<std::size_t> own_indices(const OpRun<T>& run, std::string_view path) {
  const std::size_t ranks = run.swaps_state() ? whole(run.sharding.context) : 1, columns = run.cut.columns,
                    t = run.place.tensor % columns;
  return run.weights.outputs_within(path, *run.spec, {t, columns}, {t * ranks + (ranks > 1 ? run.place.context : 0), columns * ranks});
}

template <class T>
std::vector<T> own_part(const OpRun<T>& run, std::string_view path, View<T>& view) {
  std::vector<T> part;
  for (std::size_t i : own_indices(run, path)) part.push_back(*view.at(0, i, 1));
  return part;
}

template <class T>
std::size_t token_of(const OpRun<T>& run, const Token& token) {
  if (token.position < run.options.prompt.size()) return run.options.prompt[token.position];
  return token_at(token.sequence, token.position, run.model.vocab, run.options.seed);
}

/// The token that the loss of a row of logits expects: the next one.
template <class T>
std::size_t target_of(const OpRun<T>& run, const View<T>& logits, std::size_t row) {
  const Token token = run.token(logits, row);
  return token_of(run, {token.sequence, token.position + 1});
}

}  // namespace gambrel::kernels
