// Reference kernels of the Mamba-2 mixer's gradients: through the short convolution and, backward in time, the scan.
#include "kernels/executor/gradients.hpp"
#include "kernels/executor/mixer.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

/// Gradient of the sum before silu; the forward noted that sum.
template <class T>
T before_silu(const Buffer<T>& dy, std::size_t row, std::size_t channel) {
  const std::size_t i = row * dy.width + channel;
  const T s = sigmoid(dy.notes[i]);
  return dy.data[i] * s * (1 + dy.notes[i] * (1 - s));
}

/// States h[t] of one channel, t = 0 (nothing yet) .. n.
template <class T>
struct States {
  std::vector<T> h;
  std::size_t width;
  T* at(std::size_t t) { return h.data() + t * width; }
};

}  // namespace

// dx[t] = sum over j of w[j] d[t + kernel - 1 - j].
template <class T>
void run_conv1d_dgrad(OpRun<T>& run) {
  const Mixer m = mixer_of(run);
  const std::size_t kernel = run.dim(Dim::k), n = run.new_tokens();
  View<T>&dy = arrived(run), &dx = run.writes[0];
  const std::vector<T> w = conv_weights(run, run.reads[1], kernel);
  for (std::size_t s = 0; s < dy.rows() / n; ++s)
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t c = 0; c < m.channels; ++c) {
        dy.at(s * n + t, c, 1);
        const T d = before_silu(dy.buffer(), s * n + t, c);
        for (std::size_t j = 0; j < kernel; ++j)
          if (t + j + 1 >= kernel) *dx.at(s * n + t + j + 1 - kernel, m.inner + c, 1) += w[c * kernel + j] * d;
        run.vector += 2.0 * static_cast<double>(kernel);
      }
}

// dw[j] = sum over t of d[t] x[t - kernel + 1 + j].
template <class T>
void run_conv1d_wgrad(OpRun<T>& run) {
  const Mixer m = mixer_of(run);
  const std::size_t kernel = run.dim(Dim::k), n = run.new_tokens();
  View<T>&dy = arrived(run), &in = run.reads[1];
  const Sum<T> weight = gradient_of(run, ".weight"), bias = gradient_of(run, ".bias");
  const std::vector<std::size_t> own = own_indices(run, "mamba.conv.bias");
  for (std::size_t s = 0; s < dy.rows() / n; ++s)
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t c = 0; c < m.channels; ++c) {
        dy.at(s * n + t, c, 1), in.at(s * n + t, m.inner + c, 1);
        const T d = before_silu(dy.buffer(), s * n + t, c);
        T* to = weight.at(0, own[c] * kernel, kernel);
        for (std::size_t j = 0; j < kernel; ++j)
          if (t + j + 1 >= kernel) to[j] += d * *in.at(s * n + t + j + 1 - kernel, m.inner + c, 1);
        if (bias) *bias.at(0, own[c], 1) += d;
        run.vector += 2.0 * static_cast<double>(kernel);
      }
}

// The states once more, then from the last token to the first: dh carries what later tokens send. Three times the forward's operations.
template <class T>
void run_ssm_scan_backward(OpRun<T>& run) {
  const Mixer m = mixer_of(run);
  const std::size_t n = run.new_tokens();
  View<T>&in = run.reads[0], &steps = run.reads[1], &dout = arrived(run), &din = run.writes[0], &dsteps = run.writes[1];
  const std::vector<std::size_t> own = own_indices(run, "mamba.scan.a_d_dt");
  const std::vector<T> a_d_dt = own_part(run, "mamba.scan.a_d_dt", run.reads[2]);
  const Sum<T> dparameters = gradient_of(run, ".a_d_dt");
  std::vector<T> da_d_dt(a_d_dt.size()), dh(m.state);
  States<T> states{std::vector<T>((n + 1) * m.state), m.state};
  for (std::size_t s = 0; s < in.rows() / n; ++s)
    for (std::size_t channel = 0; channel < m.inner; ++channel) {
      const std::size_t head = channel / m.head_dim, group = head / (m.heads / m.groups);
      const std::size_t b_at = m.inner + group * m.state, c_at = m.inner + (m.groups + group) * m.state;
      const T a = std::exp(a_d_dt[head]), skip = a_d_dt[m.heads + head];
      auto raw_step = [&](std::size_t row) {
        return *steps.at(row, m.inner + m.channels + head, 1) + a_d_dt[2 * m.heads + head];
      };
      std::fill_n(states.at(0), m.state, T(0));
      for (std::size_t t = 0; t < n; ++t) {
        const std::size_t row = s * n + t;
        const T dt = softplus(raw_step(row)), decay = std::exp(-dt * a), input = dt * *in.at(row, channel, 1);
        const T *b = in.at(row, b_at, m.state), *before = states.at(t);
        for (std::size_t i = 0; i < m.state; ++i) states.at(t + 1)[i] = decay * before[i] + input * b[i];
      }
      std::fill(dh.begin(), dh.end(), T(0));
      for (std::size_t t = n; t-- > 0;) {
        const std::size_t row = s * n + t;
        const T raw = raw_step(row), dt = softplus(raw), decay = std::exp(-dt * a), x = *in.at(row, channel, 1);
        const T *b = in.at(row, b_at, m.state), *c = in.at(row, c_at, m.state), d = *dout.at(row, channel, 1);
        T *db = din.at(row, b_at, m.state), *dc = din.at(row, c_at, m.state), ddecay = 0, dinput = 0;
        for (std::size_t i = 0; i < m.state; ++i) {
          dc[i] += d * states.at(t + 1)[i];
          dh[i] += d * c[i];
          ddecay += dh[i] * states.at(t)[i];
          dinput += dh[i] * b[i];
          db[i] += dh[i] * dt * x;
          dh[i] *= decay;
        }
        const T ddt = dinput * x - ddecay * decay * a, slope = sigmoid(raw);
        *din.at(row, channel, 1) += dinput * dt + d * skip;
        *dsteps.at(row, m.inner + m.channels + head, 1) += ddt * slope;
        da_d_dt[head] -= ddecay * decay * dt * a;
        da_d_dt[m.heads + head] += d * x;
        da_d_dt[2 * m.heads + head] += ddt * slope;
        run.vector += 3.0 * (5.0 * static_cast<double>(m.state) + 3);
      }
    }
  for (std::size_t i = 0; i < own.size(); ++i) *dparameters.at(0, own[i], 1) += da_d_dt[i];
}

#define GAMBREL_INSTANTIATE(T)                    \
  template void run_conv1d_dgrad(OpRun<T>&);      \
  template void run_conv1d_wgrad(OpRun<T>&);      \
  template void run_ssm_scan_backward(OpRun<T>&);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels
