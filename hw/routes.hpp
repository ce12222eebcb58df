// Routes of messages over the links of one network level, and what each link then carries: the definition that the
// closed forms of hw/link_load.hpp are held to.
#pragma once

#include <memory>
#include <vector>

#include "hw/topology.hpp"

namespace gambrel::hw {

/// A link in one direction, between members (numbered from 0, first axis fastest) or the switches numbered after them.
struct Link {
  int from = 0, to = 0;
  double bandwidth = 0;  ///< B/s, of whole members: all chips in one
};

class Routes {
 public:
  explicit Routes(const NetworkLevel& level);
  ~Routes();
  Routes(Routes&&) noexcept;

  const std::vector<Link>& links() const;
  /// Adds `bytes` from one member to another to the load of each link on the way: dimension order on ring, mesh and
  /// torus, half of it either way round where both are as short; the shortest path, which is the only one, elsewhere.
  void send(int from, int to, double bytes, std::vector<double>& loads) const;
  /// Seconds of the busiest link.
  double busiest(const std::vector<double>& loads) const;

 private:
  struct Web;
  std::unique_ptr<Web> web_;
};

}  // namespace gambrel::hw
