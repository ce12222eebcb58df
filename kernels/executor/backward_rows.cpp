// Reference kernels of gradients row by row: norms, rotary embedding, activations, sums, both ends of the model. Of norms and
// activations the operations are those that the table counts: twice the forward's.
#include <algorithm>
#include <cmath>

#include "kernels/executor/gradients.hpp"
#include "kernels/executor/norms.hpp"
#include "kernels/executor/row_kernels.hpp"

namespace gambrel::kernels {
namespace {

using models::Activation;
using models::Dim;

template <class T>
T gelu_slope(T x) {
  const T root = static_cast<T>(std::sqrt(2 / std::numbers::pi)), cubic = static_cast<T>(0.044715);
  const T t = std::tanh(root * (x + cubic * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * cubic * x * x);
}

template <class T>
T silu_slope(T x) {
  const T s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

/// What the gradient of one normed row needs of the whole row, other ranks' parts included: mean (0 where nothing is centred), factor,
/// and means of dy gain and dy gain x^, x^ = (x - mean) x factor.
template <class T>
struct RowFacts {
  T mean = 0, factor = 0, slope = 0, turn = 0;
};

template <class T>
RowFacts<T> facts_of(const T* x, const T* dy, const T* gain, const NormSection& s, bool centres, double epsilon,
                     const T* sums, const T* gradient_sums) {
  const T all = static_cast<T>(s.of);
  T sum = 0, squares = 0;
  for (std::size_t i = 0; !sums && i < s.width; ++i) sum += x[i], squares += x[i] * x[i];
  if (sums && centres) sum = sums[0], squares = sums[1];
  else if (sums) squares = sums[0];
  RowFacts<T> facts{.mean = centres ? sum / all : T(0)};
  if (centres && !sums) {
    squares = 0;
    for (std::size_t i = 0; i < s.width; ++i) squares += (x[i] - facts.mean) * (x[i] - facts.mean);
  } else if (centres) {
    squares -= all * facts.mean * facts.mean;
  }
  facts.factor = 1 / std::sqrt(squares / all + static_cast<T>(epsilon));
  T slope = 0, turn = 0;  // sums of dy gain and of dy gain x
  for (std::size_t i = 0; !gradient_sums && i < s.width; ++i) slope += dy[i] * gain[i], turn += dy[i] * gain[i] * x[i];
  if (gradient_sums && centres) slope = gradient_sums[0], turn = gradient_sums[1];
  else if (gradient_sums) turn = gradient_sums[0] * static_cast<T>(s.share);  // keys that several ranks have share it out
  facts.slope = centres ? slope / all : T(0);
  facts.turn = (turn - facts.mean * slope) * facts.factor / all;
  return facts;
}

/// dx and, added up, dgain (and dbias). `dx` may be `dy`.
template <class T>
void norm_row(const T* x, const T* dy, T* dx, const T* gain, T* dgain, T* dbias, std::size_t n, const RowFacts<T>& f) {
  for (std::size_t i = 0; i < n; ++i) {
    const T normed = (x[i] - f.mean) * f.factor, d = dy[i];
    dgain[i] += d * normed;
    if (dbias) dbias[i] += d;
    dx[i] = f.factor * (d * gain[i] - f.slope - normed * f.turn);
  }
}

template <class T>
void run_qk_norm_backward(OpRun<T>& run) {
  const std::size_t n = run.dim(Dim::n);
  const auto sections = norm_sections(run.path, run.model, run.spec, run.cut, n);
  View<T>&in = run.reads[0], &dy = arrived(run), *sums = run.find(".statistics"), *back = run.find(".statistics.grad");
  const T* gain = run.reads[1].all();
  const Sum<T> dgain = gradient_of(run, ".gain");
  T* to = dgain.all();
  for (std::size_t row = 0; row < in.rows(); ++row) {
    const T* x = in.at(row, 0, n);
    dy.at(row, 0, n);
    T* dx = run.writes.back().at(row, 0, n);  // in place
    for (std::size_t i = 0; i < sections.size(); ++i) {
      const NormSection& s = sections[i];
      const auto facts = facts_of<T>(x + s.first, dx + s.first, gain + s.gain, s, false, run.options.norm_epsilon,
                                     sums ? sums->at(row, i, 1) : nullptr, back ? back->at(row, i, 1) : nullptr);
      norm_row<T>(x + s.first, dx + s.first, dx + s.first, gain + s.gain, to + s.gain, nullptr, s.width, facts);
    }
    run.vector += 8.0 * static_cast<double>(n);
  }
}

/// Of norm(y silu(z)); z stands first in the projection.
template <class T>
void run_gated_norm_backward(OpRun<T>& run) {
  const std::size_t n = run.dim(Dim::n);
  const auto sections = norm_sections(run.path, run.model, run.spec, run.cut, n);
  const std::vector<std::size_t> own = own_indices(run, "mamba.gated_norm.gain");
  const std::vector<T> gain = own_part(run, "mamba.gated_norm.gain", run.reads[2]);
  const Sum<T> dgain = gradient_of(run, ".gain");
  View<T>& dnormed = arrived(run);
  std::vector<T> gated(n), dgated(n), to(n);
  for (std::size_t row = 0; row < run.reads[0].rows(); ++row) {
    const T *y = run.reads[0].at(row, 0, n), *z = run.reads[1].at(row, 0, n), *d = dnormed.at(row, 0, n);
    T *dy = run.writes[0].at(row, 0, n), *dz = run.writes[1].at(row, 0, n);
    for (std::size_t i = 0; i < n; ++i) gated[i] = y[i] * z[i] * sigmoid(z[i]);
    for (const NormSection& s : sections) {
      const auto facts = facts_of<T>(gated.data() + s.first, d + s.first, gain.data() + s.gain, s, false,
                                     run.options.norm_epsilon, nullptr, nullptr);
      norm_row<T>(gated.data() + s.first, d + s.first, dgated.data() + s.first, gain.data() + s.gain,
                  to.data() + s.gain, nullptr, s.width, facts);
    }
    for (std::size_t i = 0; i < n; ++i) {
      dy[i] += dgated[i] * z[i] * sigmoid(z[i]);
      dz[i] += dgated[i] * y[i] * silu_slope(z[i]);
    }
    run.vector += 2 * 9.0 * static_cast<double>(n);
  }
  for (std::size_t i = 0; i < n; ++i) *dgain.at(0, own[i], 1) += to[i];
}

}  // namespace

// Rows are the same before and behind the norm: in training the head works on all tokens.
template <class T>
void run_norm_backward(OpRun<T>& run) {
  if (run.path == "attn.qk_norm") return run_qk_norm_backward(run);
  if (run.path == "mamba.gated_norm") return run_gated_norm_backward(run);
  const std::size_t n = run.dim(Dim::n);
  const bool centres = run.forward.kind == models::OpKind::layer_norm;
  View<T>&in = run.reads[0], &dy = arrived(run), &dx = run.writes[0], *sums = run.find(".statistics"),
         *back = run.find(".statistics.grad");
  const Sum<T> dgain = gradient_of(run, ".gain"), dbias = gradient_of(run, ".bias");
  const T* gain = run.reads[1].all();
  T *to = dgain.all(), *to_bias = dbias ? dbias.all() : nullptr;
  const NormSection section = norm_sections(run.path, run.model, run.spec, run.cut, n).front();
  std::vector<T> row_gradient(n);
  for (std::size_t row = 0; row < in.rows(); ++row) {
    const T *x = in.at(row, 0, n), *d = dy.at(row, 0, n);
    const auto facts = facts_of<T>(x, d, gain, section, centres, run.options.norm_epsilon,
                                   sums ? sums->at(row, 0, sums->width()) : nullptr,
                                   back ? back->at(row, 0, back->width()) : nullptr);
    norm_row<T>(x, d, row_gradient.data(), gain, to, to_bias, n, facts);
    T* out = dx.at(row, 0, n);
    for (std::size_t i = 0; i < n; ++i) out[i] += row_gradient[i];
    run.vector += (centres ? 14.0 : 8.0) * static_cast<double>(n);
  }
}

// Turned back, in place.
template <class T>
void run_rotary_backward(OpRun<T>& run) {
  View<T>&in = run.reads[0], &out = run.writes[0];
  const bool key = run.path == "attn.k_rotary";
  const models::LatentAttention* latent = run.spec->latent ? &*run.spec->latent : nullptr;
  const std::size_t rotary = whole(latent ? latent->rope_head_dim : run.spec->attention->rotary);
  const std::size_t head = key      ? in.width()
                           : latent ? whole(latent->nope_head_dim) + rotary
                                    : whole(run.spec->attention->head_dim);
  const std::size_t offset = latent ? head - rotary : 0, heads = run.dim(Dim::n) / rotary;
  for (std::size_t row = 0; row < in.rows(); ++row) {
    const auto position = static_cast<double>(run.token(in, row).position);
    for (std::size_t h = 0; h < heads; ++h) {
      in.at(row, h * head + offset, rotary);
      turn(out.at(row, h * head + offset, rotary), rotary, -position, run.options.rotary_base);
      run.vector += 3.0 * static_cast<double>(rotary);
    }
  }
}

template <class T>
double activate_backward(Activation activation, const T* in, const T* d, T* to, std::size_t inner) {
  double operations = 0;
  for (std::size_t i = 0; i < inner; ++i) switch (activation) {
      using enum Activation;
      case swiglu:
        to[i] = d[i] * in[inner + i] * silu_slope(in[i]), to[inner + i] = d[i] * in[i] * sigmoid(in[i]), operations += 10;
        break;
      case geglu:
        to[i] = d[i] * in[inner + i] * gelu_slope(in[i]), to[inner + i] = d[i] * gelu_of(in[i]), operations += 18;
        break;
      case silu: to[i] = d[i] * silu_slope(in[i]), operations += 8; break;
      case gelu: to[i] = d[i] * gelu_slope(in[i]), operations += 16; break;
      case relu: to[i] = in[i] > 0 ? d[i] : T(0), operations += 2; break;
      case relu2: to[i] = in[i] > 0 ? 2 * in[i] * d[i] : T(0), operations += 4; break;
    }
  return operations;
}

template <class T>
void run_activation_backward(OpRun<T>& run) {
  View<T>&in = run.reads[0], &dy = arrived(run), &dx = run.writes[0];
  const bool routed = run.path.starts_with("moe.experts"), shared = run.path.starts_with("moe.shared");
  const Activation activation = routed || shared ? run.spec->moe->activation : run.spec->dense->activation;
  const std::size_t inner = run.dim(Dim::n);
  dx.shape(in.rows(), in.width());
  dx.buffer().know(in.buffer());
  for (std::size_t row = 0; row < in.rows(); ++row)
    run.vector += activate_backward(activation, in.at(row, 0, in.width()), dy.at(row, 0, inner),
                                    dx.at(row, 0, in.width()), inner);
}

// y = x sigmoid(gate), one gate a row: both gradients, three operations an element.
template <class T>
void run_scale_backward(OpRun<T>& run) {
  View<T>&in = run.reads[0], &gate = run.reads[1], &dy = arrived(run), &dx = run.writes[0], &dgate = run.writes[1];
  const std::size_t n = run.dim(Dim::n);
  for (std::size_t row = 0; row < in.rows(); ++row) {
    const T *x = in.at(row, 0, n), *d = dy.at(row, 0, n), factor = sigmoid(*gate.at(row, 0, 1));
    T *to = dx.at(row, 0, n), sum = 0;
    for (std::size_t i = 0; i < n; ++i) to[i] += d[i] * factor, sum += d[i] * x[i];
    *dgate.at(row, 0, 1) += sum * factor * (1 - factor);
    run.vector += 3.0 * static_cast<double>(n);
  }
}

// Gradients that a tensor's readers sent. Each is stored as wide as the tensor; it counts what its reader read.
template <class T>
void run_sum_backward(OpRun<T>& run) {
  View<T>& out = run.writes[0];
  T* sum = out.all();
  double read = 0;
  for (View<T>& term : run.reads) {
    const std::size_t width = std::min(out.width(), whole(term.tensor->shape.back()));
    for (std::size_t row = 0; row < term.rows(); ++row) term.at(row, 0, width);
    std::transform(sum, sum + out.buffer().data.size(), term.buffer().data.begin(), sum, std::plus<>());
    read += static_cast<double>(term.rows() * width);
  }
  run.vector += std::max(0.0, read - static_cast<double>(out.buffer().data.size()));
}

template <class T>
void run_embedding_backward(OpRun<T>& run) {
  View<T>& dy = arrived(run);
  Sum<T> table = gradient_of(run, ".table"), positions = gradient_of(run, ".positions");
  const std::size_t first = run.place.tensor * table.write->rows(), n = dy.width();
  run.reads[0].all();
  auto add = [&](const Sum<T>& sum, std::size_t row, const T* d) {
    sum.read->look_up(row);
    T* to = sum.write->look_up(row);
    for (std::size_t i = 0; i < n; ++i) to[i] += d[i];
  };
  for (std::size_t row = 0; row < dy.rows(); ++row) {
    const Token token = run.tokens.token(row, 0);
    const std::size_t id = token_at(token.sequence, token.position, run.model.vocab, run.options.seed);
    const T* d = dy.at(row, 0, n);
    if (id >= first && id < first + table.write->rows()) add(table, id - first, d);
    if (positions) add(positions, token.position, d);
  }
}

template <class T>
void run_loss_backward(OpRun<T>& run) {
  View<T>&probabilities = run.reads[0], &dlogits = run.writes[0];
  run.reads[1].all();
  const std::size_t width = probabilities.width(), first = run.place.tensor * width;
  for (std::size_t row = 0; row < probabilities.rows(); ++row) {
    const T* p = probabilities.at(row, 0, width);
    T* d = dlogits.at(row, 0, width);
    const std::size_t target = target_of(run, dlogits, row) - first;
    for (std::size_t i = 0; i < width; ++i)
      d[i] = (p[i] - (i == target ? T(1) : T(0))) * static_cast<T>(run.loss_scale);
    run.vector += 2.0 * static_cast<double>(width);
  }
}

#define GAMBREL_INSTANTIATE(T)                        \
  template void run_norm_backward(OpRun<T>&);         \
  template void run_rotary_backward(OpRun<T>&);       \
  template void run_activation_backward(OpRun<T>&);   \
  template void run_scale_backward(OpRun<T>&);        \
  template void run_sum_backward(OpRun<T>&);          \
  template void run_embedding_backward(OpRun<T>&);    \
  template void run_loss_backward(OpRun<T>&);         \
  template double activate_backward(models::Activation, const T*, const T*, T*, std::size_t);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels
