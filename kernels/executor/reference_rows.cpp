// Reference kernels that work row by row: norms, rotary embedding, sums, activations, both ends of the model.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/executor/norms.hpp"
#include "kernels/executor/row_kernels.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

/// x / sqrt(mean(x^2) + epsilon) x gain, in four operations an element. `sums`: over all ranks, if others have a part of the row.
template <class T>
double rms_norm(const T* x, T* y, const NormSection& section, const T* gain, double epsilon, const T* sums) {
  T sum = sums ? *sums : T(0);
  for (std::size_t i = 0; !sums && i < section.width; ++i) sum += x[i] * x[i];
  const T factor = 1 / std::sqrt(sum / static_cast<T>(section.of) + static_cast<T>(epsilon));
  for (std::size_t i = 0; i < section.width; ++i) y[i] = x[i] * factor * gain[i];
  return 4.0 * static_cast<double>(section.width);
}

/// (x - mean) / sqrt(variance + epsilon) x gain + bias, in seven.
template <class T>
double layer_norm(const T* x, T* y, const NormSection& section, const T* gain, const T* bias, double epsilon,
                  const T* sums) {
  const std::size_t n = section.width;
  const T all = static_cast<T>(section.of);
  T mean = sums ? sums[0] : T(0), squares = 0;
  for (std::size_t i = 0; !sums && i < n; ++i) mean += x[i];
  mean /= all;
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = x[i] - mean;
    squares += y[i] * y[i];
  }
  if (sums) squares = sums[1] - all * mean * mean;
  const T factor = 1 / std::sqrt(squares / all + static_cast<T>(epsilon));
  for (std::size_t i = 0; i < n; ++i) y[i] = y[i] * factor * gain[i] + bias[i];
  return 7.0 * static_cast<double>(n);
}

/// Queries and keys in place: each head with its gains, or all heads of each kind together.
template <class T>
void run_qk_norm(OpRun<T>& run) {
  const std::size_t n = run.dim(Dim::n);
  const auto sections = norm_sections(run.path, run.model, run.spec, run.cut, n);
  View<T>* sums = run.find(".statistics");
  const T* gain = run.reads[1].all();
  for (std::size_t row = 0; row < run.reads[0].rows(); ++row) {
    run.reads[0].at(row, 0, n);
    T* x = run.writes[0].at(row, 0, n);
    for (std::size_t s = 0; s < sections.size(); ++s)
      run.vector += rms_norm(x + sections[s].first, x + sections[s].first, sections[s], gain + sections[s].gain,
                             run.options.norm_epsilon, sums ? sums->at(row, s, 1) : nullptr);
  }
}

/// norm(y silu(z)), group by group; z stands first in the projection.
template <class T>
void run_gated_norm(OpRun<T>& run) {
  const std::size_t n = run.dim(Dim::n);
  const auto sections = norm_sections(run.path, run.model, run.spec, run.cut, n);
  const std::vector<T> gain = own_part(run, "mamba.gated_norm.gain", run.reads[2]);
  std::vector<T> gated(n);
  for (std::size_t row = 0; row < run.reads[0].rows(); ++row) {
    const T *y = run.reads[0].at(row, 0, n), *z = run.reads[1].at(row, 0, n);
    T* out = run.writes[0].at(row, 0, n);
    for (std::size_t i = 0; i < n; ++i) gated[i] = y[i] * z[i] * sigmoid(z[i]);
    run.vector += 5.0 * static_cast<double>(n);
    for (const NormSection& s : sections)
      run.vector += rms_norm<T>(gated.data() + s.first, out + s.first, s, gain.data() + s.gain,
                                run.options.norm_epsilon, nullptr);
  }
}

/// Rows of the stream that the head works on: the last `logits` positions of every sequence, those of them that this rank has.
template <class T>
std::vector<std::size_t> head_rows(OpRun<T>& run) {
  const std::size_t logits = run.step.training ? run.new_tokens() : std::min(whole(run.step.logits), run.new_tokens());
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < run.reads[0].rows(); ++row)
    if (run.token(run.reads[0], row).position >= run.total() - logits) rows.push_back(row);
  return rows;
}

/// The library's kernel; biases and rows that ranks share it does not do.
template <class T>
bool norm_fast(OpRun<T>& run, const std::vector<std::size_t>& rows, std::size_t n, const T* gain) {
  if constexpr (std::is_same_v<T, float>) {
    View<T>&in = run.reads[0], &out = run.writes[0];
    const FastKernels* fast = run.options.fast;
    if (!fast || !fast->rms_norm || rows.empty() || run.reads.size() > 2 || in.width() != n) return false;
    const auto epsilon = static_cast<float>(run.options.norm_epsilon);
    if (rows.size() == in.rows()) fast->rms_norm(in.all(), gain, out.all(), rows.size(), n, epsilon);
    else
      for (std::size_t i = 0; i < rows.size(); ++i) fast->rms_norm(in.at(rows[i], 0, n), gain, out.at(i, 0, n), 1, n, epsilon);
    run.vector += 4.0 * static_cast<double>(rows.size() * n);
    return true;
  }
  return false;
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
  View<T>*bias = run.find(".bias"), *sums = run.find(".statistics");
  const T *gain = run.reads[1].all(), *shift = bias ? bias->all() : nullptr;
  if (run.op.part == models::ModelPart::head)
    for (const std::size_t row : rows) out.buffer().tokens.push_back(run.token(in, row));
  if (norm_fast(run, rows, n, gain)) return;
  const NormSection section = norm_sections(run.path, run.model, run.spec, run.cut, n).front();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const T *x = in.at(rows[i], 0, n), *others = sums ? sums->at(rows[i], 0, sums->width()) : nullptr;
    T* y = out.at(i, 0, n);
    run.vector += bias ? layer_norm(x, y, section, gain, shift, run.options.norm_epsilon, others)
                       : rms_norm(x, y, section, gain, run.options.norm_epsilon, others);
  }
}

// Three operations for each rotated element: two products and a sum. Of latent attention the heads' rope parts, and by an operator
// of its own that of the key they share, the last elements of what was compressed.
/// Heads that are turned whole and lie side by side.
template <class T>
bool turned_fast(OpRun<T>& run, std::size_t heads, std::size_t width) {
  if constexpr (std::is_same_v<T, float>) {
    const FastKernels* fast = run.options.fast;
    View<T>&in = run.reads[0], &out = run.writes[0];
    if (!fast || !fast->rotary || in.width() < heads * width) return false;
    for (std::size_t row = 0; row < in.rows(); ++row) {
      in.at(row, 0, heads * width);
      fast->rotary(out.at(row, 0, heads * width), run.token(in, row).position, heads, width, run.options.rotary_base);
      run.vector += 3.0 * static_cast<double>(heads * width);
    }
    return true;
  }
  return false;
}

template <class T>
void run_rotary(OpRun<T>& run) {
  View<T>&in = run.reads[0], &out = run.writes[0];
  const bool key = run.path == "attn.k_rotary";
  const models::LatentAttention* latent = run.spec->latent ? &*run.spec->latent : nullptr;
  const std::size_t rotary = whole(latent ? latent->rope_head_dim : run.spec->attention->rotary);
  const std::size_t head = key      ? in.width()
                           : latent ? whole(latent->nope_head_dim) + rotary
                                    : whole(run.spec->attention->head_dim);
  const std::size_t offset = latent ? head - rotary : 0, heads = run.dim(Dim::n) / rotary;
  if (offset == 0 && head == rotary && turned_fast(run, heads, rotary)) return;
  for (std::size_t row = 0; row < in.rows(); ++row) {
    const auto position = static_cast<double>(run.token(in, row).position);
    for (std::size_t h = 0; h < heads; ++h) {
      in.at(row, h * head + offset, rotary);
      turn(out.at(row, h * head + offset, rotary), rotary, position, run.options.rotary_base);
      run.vector += 3.0 * static_cast<double>(rotary);
    }
  }
}

/// A sum of two in one pass; the result may be one of them.
template <class T>
bool added_fast(OpRun<T>& run) {
  View<T>& out = run.writes[0];
  if constexpr (std::is_same_v<T, float>) {
    const FastKernels* fast = run.options.fast;
    const auto same = [&](const View<T>& in) { return in.rows() == out.rows() && in.width() == out.width(); };
    if (!fast || !fast->add || run.reads.size() != 2 || !std::ranges::all_of(run.reads, same)) return false;
    fast->add(run.reads[0].all(), run.reads[1].all(), out.all(), out.rows() * out.width());
    run.vector += static_cast<double>(out.rows() * out.width());
    return true;
  }
  return false;
}

template <class T>
void run_elementwise(OpRun<T>& run) {
  View<T>& out = run.writes[0];
  const std::size_t rows = out.rows(), n = out.width();
  const bool scales = run.path == "moe.shared.scale";
  if (!scales && added_fast(run)) return;
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
bool activated_fast(OpRun<T>& run, models::Activation activation, std::size_t inner) {
  if constexpr (std::is_same_v<T, float>) {
    const FastKernels* fast = run.options.fast;
    if (!fast || !fast->swiglu || activation != models::Activation::swiglu) return false;
    fast->swiglu(run.reads[0].all(), run.writes[0].all(), run.reads[0].rows(), inner);
    run.vector += 5.0 * static_cast<double>(run.reads[0].rows() * inner);
    return true;
  }
  return false;
}

template <class T>
void run_activation(OpRun<T>& run) {
  View<T>&in = run.reads[0], &out = run.writes[0];
  const bool routed = run.path.starts_with("moe.experts"), shared = run.path.starts_with("moe.shared");
  const models::Activation activation = routed || shared ? run.spec->moe->activation : run.spec->dense->activation;
  const std::size_t inner = run.dim(Dim::n);
  out.shape(in.rows(), inner);
  out.buffer().tags = in.buffer().tags;
  if (activated_fast(run, activation, inner)) return;
  for (std::size_t row = 0; row < in.rows(); ++row)
    run.vector += activate(activation, in.at(row, 0, in.width()), out.at(row, 0, inner), inner);
}

// A vocabulary cut over the ranks: zeros for what others hold; positions are added by the first of them.
template <class T>
void run_embedding(OpRun<T>& run) {
  View<T>&table = run.reads[1], &out = run.writes[0];
  View<T>* positions = run.find(".positions");
  const std::size_t first = run.place.tensor * table.rows();
  run.reads[0].all();
  for (std::size_t row = 0; row < out.rows(); ++row) {
    const Token token = run.tokens.token(row, 0);
    const std::size_t id = token_of(run, token);
    T* y = out.at(row, 0, out.width());
    if (id >= first && id < first + table.rows()) std::copy_n(table.look_up(id - first), out.width(), y);
    if (!positions) continue;
    const T* p = positions->look_up(token.position);
    if (run.place.tensor == 0)
      for (std::size_t i = 0; i < out.width(); ++i) y[i] += p[i];
  }
}

template <class T>
std::size_t largest_of(const OpRun<T>& run, const T* x, std::size_t n) {
  if constexpr (std::is_same_v<T, float>)
    if (const FastKernels* fast = run.options.fast; fast && fast->argmax) return fast->argmax(x, n);
  return static_cast<std::size_t>(std::max_element(x, x + n) - x);
}

// Greedy: the probabilities are formed, then the likeliest token is taken.
template <class T>
void run_sampling(OpRun<T>& run) {
  View<T>&logits = run.reads[0], &out = run.writes[0];
  out.shape(logits.rows(), 1);
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const T* x = logits.at(row, 0, logits.width());
    *out.at(row, 0, 1) = static_cast<T>(largest_of(run, x, logits.width()));
    run.vector += 5.0 * static_cast<double>(logits.width());
  }
}

// Of a vocabulary that ranks share each has the largest logit of its part, the sum of exponentials and the target's logit less that
// largest one, if it has it (Shoeybi et al. 2019, section 3); join_losses makes the loss of them.
template <class T>
void run_cross_entropy(OpRun<T>& run) {
  View<T>&logits = run.reads[0], &probabilities = run.writes[0], &loss = run.writes[1];
  run.reads[1].all();
  const std::size_t width = logits.width(), first = run.place.tensor * width;
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const T* x = logits.at(row, 0, width);
    T* p = probabilities.at(row, 0, width);
    const T largest = *std::max_element(x, x + width);
    T sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += p[i] = std::exp(x[i] - largest);
    for (std::size_t i = 0; i < width; ++i) p[i] /= sum;
    const std::size_t target = target_of(run, logits, row) - first;  // of others far beyond the width
    const T found = target < width ? x[target] : T(0);
    T* y = loss.at(row, 0, loss.width());
    if (loss.width() == 1) *y = std::log(sum) - (found - largest);
    else y[0] = largest, y[1] = sum, y[2] = found;
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
