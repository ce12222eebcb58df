// Ranks numbered along the axes.
#include "kernels/executor/mesh.hpp"

#include <cmath>
#include <numeric>

namespace gambrel::kernels {
namespace {

std::size_t number(double ranks) { return static_cast<std::size_t>(std::llround(ranks)); }

}  // namespace

Mesh::Mesh(const models::Sharding& s)
    : tensor_(number(s.tensor)),
      context_(number(s.context)),
      data_(number(s.data)),
      width_(number(s.expert_tensor)),
      expert_(number(s.expert)),
      size_(std::max(tensor_ * context_ * data_, width_ * expert_)) {}

MeshPlace Mesh::place(std::size_t rank) const {
  return {.tensor = rank % tensor_,
          .context = rank / tensor_ % context_,
          .data = rank / (tensor_ * context_),
          .expert = rank / width_ % expert_,
          .expert_tensor = rank % width_};
}

std::size_t Mesh::group(models::MeshAxis axis, std::size_t members, std::size_t stride, std::size_t rank) const {
  std::size_t step = 1, extent = size_;  // ranks from one member of the axis to the next; how long it is
  switch (axis) {
    using enum models::MeshAxis;
    case tensor: extent = tensor_; break;
    case context: step = tensor_, extent = context_; break;
    case data: step = tensor_ * context_, extent = size_ / step; break;
    case expert_tensor: extent = width_; break;
    case expert: step = width_, extent = expert_; break;
    case expert_data: step = width_ * expert_, extent = size_ / step; break;
    case pipeline: return rank;
  }
  const std::size_t at = rank / step % extent, behind = at / stride % members * stride;
  return rank - behind * step;
}

std::vector<std::size_t> zigzag(std::size_t past, std::size_t new_tokens, std::size_t ranks, std::size_t rank) {
  std::vector<std::size_t> positions(new_tokens);
  std::iota(positions.begin(), positions.end(), past);
  if (ranks == 1 || new_tokens < ranks) return positions;
  const std::size_t chunk = new_tokens / (2 * ranks);
  std::vector<std::size_t> mine;
  for (std::size_t first : {rank * chunk, (2 * ranks - 1 - rank) * chunk})
    mine.insert(mine.end(), positions.begin() + static_cast<std::ptrdiff_t>(first),
                positions.begin() + static_cast<std::ptrdiff_t>(first + chunk));
  return mine;
}

}  // namespace gambrel::kernels
