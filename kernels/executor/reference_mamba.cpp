// Reference kernels of the Mamba-2 mixer: the short convolution and the scan, as a recurrence token by token.
#include <cmath>

#include "kernels/executor/mixer.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

}  // namespace

// y[t] = silu(sum over j of w[j] x[t - kernel + 1 + j] + bias), every channel by itself. The table counts the products
// and sums; bias and silu are left out. The state holds the last kernel - 1 inputs of each channel.
template <class T>
void run_conv1d(OpRun<T>& run) {
  const Mixer m = mixer_of(run);
  const std::size_t kernel = run.dim(Dim::k), kept = kernel - 1, n = run.new_tokens();
  View<T>&in = run.reads[0], &out = run.writes[0], *before = run.find(".conv_state"), *bias = run.find(".bias");
  View<T>* after = run.writes.size() > 1 ? &run.writes[1] : nullptr;
  const std::vector<T> w = conv_weights(run, run.reads[1], kernel);
  std::vector<T> shift;
  if (bias) shift = own_part(run, "mamba.conv.bias", *bias);
  std::vector<T> line(kept + n), notes(out.rows() * m.channels);
  for (std::size_t s = 0; s < in.rows() / n; ++s)
    for (std::size_t c = 0; c < m.channels; ++c) {
      for (std::size_t j = 0; j < kept; ++j) line[j] = before ? *before->at(s, c * kept + j, 1) : T(0);
      for (std::size_t t = 0; t < n; ++t) line[kept + t] = *in.at(s * n + t, m.inner + c, 1);
      for (std::size_t t = 0; t < n; ++t) {
        T sum = 0;
        for (std::size_t j = 0; j < kernel; ++j) sum += w[c * kernel + j] * line[t + j];
        run.vector += 2.0 * static_cast<double>(kernel);
        if (bias) sum += shift[c];
        notes[(s * n + t) * m.channels + c] = sum;
        *out.at(s * n + t, c, 1) = sum / (1 + std::exp(-sum));
      }
      for (std::size_t j = 0; after && j < kept; ++j) *after->at(s, c * kept + j, 1) = line[n + j];
    }
  out.buffer().notes = std::move(notes);
}

// h = exp(dt A) h + dt x B, y = C h + D x, with dt = softplus(dt + bias) and A = -exp(a): Mamba-2, arXiv 2405.21060
// eq. 1. Five operations for each element of the state, three for each channel.
template <class T>
void run_ssm_scan(OpRun<T>& run) {
  const Mixer m = mixer_of(run);
  const std::size_t n = run.new_tokens();
  View<T>&in = run.reads[0], &steps = run.reads[1], &out = run.writes[0], *before = run.find(".ssm_state");
  View<T>* after = run.writes.size() > 1 ? &run.writes[1] : nullptr;
  const std::vector<T> a_d_dt = own_part(run, "mamba.scan.a_d_dt", run.reads[2]);
  std::vector<T> h(m.state);
  for (std::size_t s = 0; s < in.rows() / n; ++s)
    for (std::size_t channel = 0; channel < m.inner; ++channel) {
      const std::size_t head = channel / m.head_dim, group = head / (m.heads / m.groups);
      std::fill(h.begin(), h.end(), T(0));
      if (before) std::copy_n(before->at(s, channel * m.state, m.state), m.state, h.begin());
      for (std::size_t t = 0; t < n; ++t) {
        const std::size_t row = s * n + t;
        const T* b = in.at(row, m.inner + group * m.state, m.state);
        const T* c = in.at(row, m.inner + (m.groups + group) * m.state, m.state);
        const T x = *in.at(row, channel, 1);
        const T dt = softplus(*steps.at(row, m.inner + m.channels + head, 1) + a_d_dt[2 * m.heads + head]);
        const T decay = std::exp(-dt * std::exp(a_d_dt[head])), input = dt * x;
        T y = a_d_dt[m.heads + head] * x;
        for (std::size_t i = 0; i < m.state; ++i) {
          h[i] = decay * h[i] + input * b[i];
          y += c[i] * h[i];
          run.vector += 5;
        }
        run.vector += 3;
        *out.at(row, channel, 1) = y;
      }
      if (after) std::copy_n(h.begin(), m.state, after->at(s, channel * m.state, m.state));
    }
}

template void run_conv1d(OpRun<double>&);
template void run_conv1d(OpRun<float>&);
template void run_ssm_scan(OpRun<double>&);
template void run_ssm_scan(OpRun<float>&);

}  // namespace gambrel::kernels
