// Reference kernels that work row by row: norms, rotary embedding, sums, activations, both ends of the model.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/op_run.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

template <class T>
T sigmoid(T x) {
  return 1 / (1 + std::exp(-x));
}

template <class T>
T gelu_of(T x) {
  const T root = static_cast<T>(std::sqrt(2 / std::numbers::pi));
  return x / 2 * (1 + std::tanh(root * (x + static_cast<T>(0.044715) * x * x * x)));
}

/// x / sqrt(mean(x^2) + epsilon) x gain, in four operations an element.
template <class T>
double rms_norm(const T* x, T* y, std::size_t n, const T* gain, double epsilon) {
  T sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const T factor = 1 / std::sqrt(sum / static_cast<T>(n) + static_cast<T>(epsilon));
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] * factor * gain[i];
  return 4.0 * static_cast<double>(n);
}

/// (x - mean) / sqrt(variance + epsilon) x gain + bias, in seven.
template <class T>
double layer_norm(const T* x, T* y, std::size_t n, const T* gain, const T* bias, double epsilon) {
  T mean = 0, squares = 0;
  for (std::size_t i = 0; i < n; ++i) mean += x[i];
  mean /= static_cast<T>(n);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = x[i] - mean;
    squares += y[i] * y[i];
  }
  const T factor = 1 / std::sqrt(squares / static_cast<T>(n) + static_cast<T>(epsilon));
  for (std::size_t i = 0; i < n; ++i) y[i] = y[i] * factor * gain[i] + bias[i];
  return 7.0 * static_cast<double>(n);
}

/// Queries and keys in place: each head with its gains, or all heads of each kind together.
template <class T>
void run_qk_norm(OpRun<T>& run) {
  const models::GroupedAttention& a = *run.spec->attention;
  const std::size_t d = whole(a.head_dim), kv = whole(std::max(1.0, a.kv_heads / run.sharding.tensor)),
                    n = run.dim(Dim::n);
  const std::size_t queries = n - kv * d;
  const T* gain = run.reads[1].all();
  for (std::size_t row = 0; row < run.dim(Dim::m); ++row) {
    run.reads[0].at(row, 0, n);
    T* x = run.writes[0].at(row, 0, n);
    if (a.qk_norm == models::QkNorm::full) {
      run.vector += rms_norm(x, x, queries, gain, run.options.norm_epsilon);
      run.vector += rms_norm(x + queries, x + queries, kv * d, gain + queries, run.options.norm_epsilon);
    } else {
      for (std::size_t at = 0; at < n; at += d)
        run.vector += rms_norm(x + at, x + at, d, at < queries ? gain : gain + d, run.options.norm_epsilon);
    }
  }
}

/// norm(y silu(z)), group by group; z stands first in the projection.
template <class T>
void run_gated_norm(OpRun<T>& run) {
  const std::size_t n = run.dim(Dim::n), groups = whole(std::max(1.0, run.spec->mamba->groups / run.sharding.tensor)),
                    width = n / groups;
  const T* gain = run.reads[2].at(0, 0, n);
  std::vector<T> gated(n);
  for (std::size_t row = 0; row < run.dim(Dim::m); ++row) {
    const T *y = run.reads[0].at(row, 0, n), *z = run.reads[1].at(row, 0, n);
    T* out = run.writes[0].at(row, 0, n);
    for (std::size_t i = 0; i < n; ++i) gated[i] = y[i] * z[i] * sigmoid(z[i]);
    run.vector += 5.0 * static_cast<double>(n);
    for (std::size_t g = 0; g < n; g += width)
      run.vector += rms_norm(gated.data() + g, out + g, width, gain + g, run.options.norm_epsilon);
  }
}

/// Rows of the stream that the head works on: the last `logits` of every sequence, those of them that this rank has.
template <class T>
std::vector<std::size_t> head_rows(OpRun<T>& run) {
  const std::size_t have = run.reads[0].rows(), n = run.new_tokens(),
                    logits = run.step.training ? n : std::min(whole(run.step.logits), n);
  const std::size_t first = have < n * whole(run.step.sequences) ? run.place.tensor * have : 0;
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < have; ++row)
    if ((first + row) % n >= n - logits) rows.push_back(row);
  return rows;
}

template <class T>
void turn(T* x, std::size_t width, double position, double base) {
  for (std::size_t i = 0; i < width / 2; ++i) {
    const double angle = position * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
    const T c = static_cast<T>(std::cos(angle)), s = static_cast<T>(std::sin(angle)), a = x[i], b = x[i + width / 2];
    x[i] = a * c - b * s;
    x[i + width / 2] = b * c + a * s;
  }
}

}  // namespace

template <class T>
void run_norm(OpRun<T>& run) {
  if (run.path == "attn.qk_norm") return run_qk_norm(run);
  if (run.path == "mamba.gated_norm") return run_gated_norm(run);
  View<T>&in = run.reads[0], &out = run.writes[0];
  const std::size_t n = run.dim(Dim::n);
  std::vector<std::size_t> rows;
  if (run.op.part == models::ModelPart::head) rows = head_rows(run);
  else
    for (std::size_t row = 0; row < in.rows(); ++row) rows.push_back(row);
  out.shape(rows.size(), n);
  View<T>* bias = run.find(".bias");
  const T *gain = run.reads[1].all(), *shift = bias ? bias->all() : nullptr;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const T* x = in.at(rows[i], 0, n);
    T* y = out.at(i, 0, n);
    run.vector += bias ? layer_norm(x, y, n, gain, shift, run.options.norm_epsilon)
                       : rms_norm(x, y, n, gain, run.options.norm_epsilon);
  }
}

// Three operations for each rotated element: two products and a sum. Of latent attention the heads' rope parts, and the
// key's that they share.
template <class T>
void run_rotary(OpRun<T>& run) {
  View<T>&in = run.reads[0], &out = run.writes[0];
  const models::LatentAttention* latent = run.spec->latent ? &*run.spec->latent : nullptr;
  const std::size_t rotary = whole(latent ? latent->rope_head_dim : run.spec->attention->rotary);
  const std::size_t head =
      whole(latent ? latent->nope_head_dim + latent->rope_head_dim : run.spec->attention->head_dim);
  const std::size_t offset = latent ? head - rotary : 0;
  const std::size_t heads = run.dim(Dim::n) / rotary - (latent ? 1 : 0);
  for (std::size_t row = 0; row < in.rows(); ++row) {
    const auto position = static_cast<double>(run.past() + row % run.new_tokens());
    auto turn_one = [&](T* x) {
      turn(x, rotary, position, run.options.rotary_base);
      run.vector += 3.0 * static_cast<double>(rotary);
    };
    for (std::size_t h = 0; h < heads; ++h) {
      in.at(row, h * head + offset, rotary);
      turn_one(out.at(row, h * head + offset, rotary));
    }
    if (!latent) continue;
    turn_one(run.latent_keys->row(row) + run.latent_keys->width - rotary);
    run.aside += static_cast<double>(rotary);
  }
}

template <class T>
void run_elementwise(OpRun<T>& run) {
  View<T>& out = run.writes[0];
  const std::size_t rows = out.rows(), n = out.width();
  const bool scales = run.path == "moe.shared.scale";
  for (std::size_t row = 0; row < rows; ++row) {
    T* y = out.at(row, 0, n);
    std::copy_n(run.reads[0].at(row, 0, n), n, y);
    for (std::size_t term = 1; term < run.reads.size(); ++term) {
      if (scales) {
        const T factor = sigmoid(*run.reads[term].at(row, 0, 1));
        for (std::size_t i = 0; i < n; ++i) y[i] *= factor;
      } else {
        const T* x = run.reads[term].at(row, 0, n);
        for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
      }
      run.vector += static_cast<double>(n);
    }
  }
}

template <class T>
double activate(models::Activation activation, const T* in, T* out, std::size_t inner) {
  double operations = 0;
  for (std::size_t i = 0; i < inner; ++i) switch (activation) {
      using enum models::Activation;
      case swiglu: out[i] = in[i] * sigmoid(in[i]) * in[inner + i], operations += 5; break;
      case geglu: out[i] = gelu_of(in[i]) * in[inner + i], operations += 9; break;
      case silu: out[i] = in[i] * sigmoid(in[i]), operations += 4; break;
      case gelu: out[i] = gelu_of(in[i]), operations += 8; break;
      case relu: out[i] = std::max(in[i], T(0)), operations += 1; break;
      case relu2: out[i] = in[i] > 0 ? in[i] * in[i] : T(0), operations += 2; break;
    }
  return operations;
}

template <class T>
void run_activation(OpRun<T>& run) {
  View<T>&in = run.reads[0], &out = run.writes[0];
  const bool routed = run.path.starts_with("moe.experts"), shared = run.path.starts_with("moe.shared");
  const models::Activation activation = routed || shared ? run.spec->moe->activation : run.spec->dense->activation;
  const std::size_t inner = run.dim(Dim::n);
  out.shape(in.rows(), inner);
  out.buffer().tags = in.buffer().tags;
  for (std::size_t row = 0; row < in.rows(); ++row)
    run.vector += activate(activation, in.at(row, 0, in.width()), out.at(row, 0, inner), inner);
}

// A vocabulary cut over the ranks: zeros for what others hold; positions are added by the first of them.
template <class T>
void run_embedding(OpRun<T>& run) {
  View<T>&table = run.reads[1], &out = run.writes[0];
  View<T>* positions = run.find(".positions");
  const std::size_t n = run.new_tokens(), first = run.place.tensor * table.rows();
  run.reads[0].all();
  for (std::size_t row = 0; row < out.rows(); ++row) {
    const std::size_t position = run.past() + row % n;
    const std::size_t id = token_at(run.first_sequence + row / n, position, run.model.vocab, run.options.seed);
    T* y = out.at(row, 0, out.width());
    if (id >= first && id < first + table.rows()) std::copy_n(table.look_up(id - first), out.width(), y);
    if (!positions) continue;
    const T* p = positions->look_up(position);
    if (run.place.tensor == 0)
      for (std::size_t i = 0; i < out.width(); ++i) y[i] += p[i];
  }
}

// Greedy: the probabilities are formed, then the likeliest token is taken.
template <class T>
void run_sampling(OpRun<T>& run) {
  View<T>&logits = run.reads[0], &out = run.writes[0];
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const T* x = logits.at(row, 0, logits.width());
    *out.at(row, 0, 1) = static_cast<T>(std::max_element(x, x + logits.width()) - x);
    run.vector += 5.0 * static_cast<double>(logits.width());
  }
}

template <class T>
void run_cross_entropy(OpRun<T>& run) {
  View<T>&logits = run.reads[0], &probabilities = run.writes[0], &loss = run.writes[1];
  run.reads[1].all();
  const std::size_t n = run.new_tokens(), width = logits.width();
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const T* x = logits.at(row, 0, width);
    T* p = probabilities.at(row, 0, width);
    const T largest = *std::max_element(x, x + width);
    T sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += p[i] = std::exp(x[i] - largest);
    for (std::size_t i = 0; i < width; ++i) p[i] /= sum;
    const std::size_t target =
        token_at(run.first_sequence + row / n, run.past() + row % n + 1, run.model.vocab, run.options.seed);
    *loss.at(row, 0, 1) = std::log(sum) - (x[target] - largest);
    run.vector += 5.0 * static_cast<double>(width);
  }
}

#define GAMBREL_INSTANTIATE(T)                \
  template void run_norm(OpRun<T>&);          \
  template void run_rotary(OpRun<T>&);        \
  template void run_elementwise(OpRun<T>&);   \
  template void run_activation(OpRun<T>&);    \
  template void run_embedding(OpRun<T>&);     \
  template void run_sampling(OpRun<T>&);      \
  template void run_cross_entropy(OpRun<T>&); \
  template double activate(models::Activation, const T*, T*, std::size_t);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels
