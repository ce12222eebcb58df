// Inside kernels/ only: the ranks of a sharding, who exchanges data with whom, and which tokens each of them has.
#pragma once

#include <vector>

#include "kernels/executor/buffer.hpp"
#include "models/build.hpp"

namespace gambrel::kernels {

/// A rank's place in both meshes: tensor varies fastest, then context, then data; of the experts' mesh first their width.
struct MeshPlace {
  std::size_t tensor = 0, context = 0, data = 0, expert = 0, expert_tensor = 0;
};

class Mesh {
 public:
  explicit Mesh(const models::Sharding& sharding);

  std::size_t size() const { return size_; }
  MeshPlace place(std::size_t rank) const;
  /// The first of the ranks that `rank` exchanges data with: every `stride`-th of an axis, `members` of them.
  std::size_t group(models::MeshAxis axis, std::size_t members, std::size_t stride, std::size_t rank) const;

 private:
  std::size_t tensor_, context_, data_, width_, expert_, size_;
};

/// The tokens of one rank in one step. A cut context is dealt out as zigzag: of 2 C chunks rank r has r and 2 C - 1 - r (Llama 3,
/// arXiv 2407.21783 section 3.3.2).
struct RankTokens {
  std::size_t first_sequence = 0;      ///< of the data rank's, among all
  std::size_t sequences = 1;           ///< of the data rank
  std::vector<std::size_t> positions;  ///< of this context rank's new tokens in every sequence
  std::size_t own_row = 0;             ///< this tensor rank's first row, where tokens are cut: row x rows / all rows
  std::size_t all_rows() const { return sequences * positions.size(); }
  /// The token of a row of a matrix that has `rows` of them: all, or the part that starts at `first`.
  Token token(std::size_t row, std::size_t first) const {
    const std::size_t i = first + row, n = positions.size();
    return {first_sequence + i / n, positions[i % n]};
  }
};

/// Positions of a context rank's new tokens; all of them where they are too few to cut.
std::vector<std::size_t> zigzag(std::size_t past, std::size_t new_tokens, std::size_t ranks, std::size_t rank);

}  // namespace gambrel::kernels
