// Sections by the operator's path.
#include "kernels/executor/norms.hpp"

namespace gambrel::kernels {
namespace {

std::vector<NormSection> of_heads(const models::GroupedAttention& a, LayerCut cut, std::size_t n) {
  const std::size_t d = whole(a.head_dim), kv = std::max<std::size_t>(1, whole(a.kv_heads) / cut.columns) * d, q = n - kv;
  if (a.qk_norm == models::QkNorm::full)
    return {{0, q, 0, a.heads * a.head_dim},
            {q, kv, q, a.kv_heads * a.head_dim, std::min(1.0, a.kv_heads / static_cast<double>(cut.columns))}};
  std::vector<NormSection> sections;
  for (std::size_t at = 0; at < n; at += d) sections.push_back({at, d, at < q ? 0 : d, a.head_dim});
  return sections;
}

}  // namespace

std::vector<NormSection> norm_sections(std::string_view path, const models::ModelConfig& model,
                                       const models::LayerSpec* spec, LayerCut cut, std::size_t n) {
  if (path == "attn.qk_norm") return of_heads(*spec->attention, cut, n);
  if (path == "mamba.gated_norm") {
    const double width = spec->mamba->heads * spec->mamba->head_dim / spec->mamba->groups;
    std::vector<NormSection> sections;
    for (std::size_t at = 0; at < n; at += whole(width)) sections.push_back({at, whole(width), at, width});
    return sections;
  }
  const bool latent = path == "attn.kv_norm" || path == "attn.q_norm";
  return {{0, n, 0, latent ? static_cast<double>(n) : model.hidden}};
}

template <class T>
Buffer<T> norm_sums(const Buffer<T>& x, const std::vector<NormSection>& sections, bool centres) {
  Buffer<T> sums(x.rows, centres ? 2 : sections.size());
  for (std::size_t row = 0; row < x.rows; ++row)
    for (std::size_t s = 0; s < sections.size(); ++s) {
      T sum = 0, squares = 0;
      const T* values = x.row(row) + sections[s].first;
      for (std::size_t i = 0; i < sections[s].width; ++i) sum += values[i], squares += values[i] * values[i];
      if (centres) sums.row(row)[0] = sum;
      sums.row(row)[centres ? 1 : s] = static_cast<T>(sections[s].share) * squares;
    }
  return sums;
}

template Buffer<double> norm_sums(const Buffer<double>&, const std::vector<NormSection>&, bool);
template Buffer<float> norm_sums(const Buffer<float>&, const std::vector<NormSection>&, bool);

}  // namespace gambrel::kernels
