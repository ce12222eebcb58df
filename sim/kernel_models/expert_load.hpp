// How the rows of a routed FFN fall on the experts of one rank. Free of rates: only the routing decides.
#pragma once

#include <array>

#include "models/build.hpp"

namespace gambrel::sim {

/// Rows of one rank's experts; expectations, so fractions occur.
struct ExpertRows {
  /// Heights of the row tiles that grouped-GEMM libraries choose from.
  static constexpr std::array<int, 8> heights{8, 16, 32, 48, 64, 128, 256, 512};

  double rows = 0;                                  ///< of all experts together
  double active = 0;                                ///< experts that get any
  std::array<double, heights.size()> tile_counts{};  ///< sum over the experts of ceil(rows / height)

  /// `height`: one of heights.
  double tiles(int height) const;
};

struct ExpertLoad {
  ExpertRows local;         ///< rows whose expert is on this rank
  double tokens = 0;        ///< tokens with at least one expert on this rank
  ExpertRows first_takes_all;  ///< if those tokens' choices on other ranks are computed too, by the first expert here
};

struct ExpertRouting {
  double tokens = 1, experts = 1, top_k = 1;  ///< of all ranks together
  double ranks = 1;                           ///< that share the experts evenly
  models::Routing routing;
};

/// The rank that measurements time, as the aiconfigurator collectors (commit 095f58a) make their routings:
/// balanced: expert = token + choice x stride, exactly; rank 0.
/// power_law: popularities of density x^-alpha between two bounds, rounded to rows, at most one row a token; the busiest
/// rank. The collectors average the times of five random draws; here four fixed draws, evenly spread, are averaged.
/// uniform: every token's experts at random; the expectation of any rank.
/// Remembered per thread: a repeated question costs a look-up.
ExpertLoad expert_load(const ExpertRouting& question);

}  // namespace gambrel::sim
