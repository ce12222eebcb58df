// Members, switches and links as a graph; fat-trees have one leaf switch for `leaf` members and one core above them that
// does not block, dragonflies one switch a group.
#include "hw/routes.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/breadth_first_search.hpp>
#include <cstddef>

namespace gambrel::hw {
namespace {

using Graph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property, boost::property<boost::edge_index_t, std::size_t>>;
using Vertex = boost::graph_traits<Graph>::vertex_descriptor;

bool is_line(TopologyKind kind) { return kind == TopologyKind::ring || kind == TopologyKind::mesh || kind == TopologyKind::torus; }

std::size_t index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

struct Routes::Web {
  const NetworkLevel level;
  std::vector<int> shape;
  std::vector<bool> wrap;
  Graph graph;
  std::vector<Link> links;

  explicit Web(const NetworkLevel& of) : level(of), shape(of.shape), wrap(of.wrap) {
    if (!is_line(level.topology) || shape.empty()) shape.resize(1, level.size);
    if (level.topology == TopologyKind::ring) wrap.assign(1, true);
    wrap.resize(shape.size(), false);
  }

  void join(int from, int to, double bandwidth) {
    boost::add_edge(index(from), index(to), links.size(), graph);
    links.push_back({from, to, bandwidth});
  }
  void join_both(int a, int b, double bandwidth) {
    join(a, b, bandwidth);
    join(b, a, bandwidth);
  }

  int stride(std::size_t axis) const {
    int stride = 1;
    for (std::size_t i = 0; i < axis; ++i) stride *= shape[i];
    return stride;
  }

  void build_grid() {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      const int step = stride(axis), length = shape[axis];
      for (int member = 0; member < level.size; ++member) {
        const int at = member / step % length;
        if (at + 1 < length) join_both(member, member + step, level.link_bandwidth().value);
        else if (wrap[axis] && length > 2) join_both(member, member - at * step, level.link_bandwidth().value);
      }
    }
  }

  void build_full() {
    for (int a = 0; a < level.size; ++a)
      for (int b = a + 1; b < level.size; ++b) join_both(a, b, level.link_bandwidth().value);
  }

  /// Members behind switches of `each`; the switches behind a core, or joined to each other.
  void build_switched(int each, double upwards, bool core) {
    const int switches = (level.size + each - 1) / each;
    for (int member = 0; member < level.size; ++member) join_both(member, level.size + member / each, level.member_bandwidth().value);
    if (switches < 2) return;
    for (int a = 0; a < switches; ++a) {
      if (core) join_both(level.size + a, level.size + switches, upwards);
      for (int b = a + 1; b < switches && !core; ++b) join_both(level.size + a, level.size + b, upwards);
    }
  }

  void build() {
    const double member = level.member_bandwidth().value;
    switch (level.topology) {
      case TopologyKind::ring:
      case TopologyKind::mesh:
      case TopologyKind::torus: return build_grid();
      case TopologyKind::fully_connected: return build_full();
      case TopologyKind::switched: return build_switched(std::max(level.size, 1), 0, true);
      case TopologyKind::fat_tree: {
        const int leaf = std::max(level.leaf, 1);
        return build_switched(leaf, member * leaf / level.oversubscription, true);
      }
      case TopologyKind::dragonfly: return build_switched(level.shape.front(), level.trunk_bandwidth().value, false);
    }
  }

  std::size_t link_between(Vertex from, Vertex to) const {
    return boost::get(boost::edge_index, graph, boost::edge(from, to, graph).first);
  }

  /// `steps` links along an axis, forwards or backwards; returns where they lead.
  int walk(int from, std::size_t axis, int steps, double bytes, std::vector<double>& loads) const {
    const int step = stride(axis), length = shape[axis];
    for (int i = 0; i != steps; i += steps > 0 ? 1 : -1) {
      const int at = from / step % length;
      const int next = (at + (steps > 0 ? 1 : length - 1)) % length;
      const int to = from + (next - at) * step;
      loads[link_between(index(from), index(to))] += bytes;
      from = to;
    }
    return from;
  }

  void send_in_order(int from, int to, double bytes, std::vector<double>& loads) const {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      const int step = stride(axis), length = shape[axis];
      int steps = to / step % length - from / step % length;
      const bool round = wrap[axis] && length > 2;
      if (round && 2 * std::abs(steps) > length) steps += steps > 0 ? -length : length;
      if (round && 2 * std::abs(steps) == length) {
        walk(from, axis, -steps, bytes / 2, loads);
        from = walk(from, axis, steps, bytes / 2, loads);
      } else {
        from = walk(from, axis, steps, bytes, loads);
      }
    }
  }

  void send_shortest(int from, int to, double bytes, std::vector<double>& loads) const {
    std::vector<Vertex> before(boost::num_vertices(graph));
    for (Vertex v = 0; v < before.size(); ++v) before[v] = v;
    boost::breadth_first_search(graph, index(from), boost::visitor(boost::make_bfs_visitor(boost::record_predecessors(before.data(), boost::on_tree_edge()))));
    for (Vertex at = index(to); at != index(from) && before[at] != at; at = before[at]) loads[link_between(before[at], at)] += bytes;
  }
};

Routes::Routes(const NetworkLevel& level) : web_(std::make_unique<Web>(level)) { web_->build(); }
Routes::~Routes() = default;
Routes::Routes(Routes&&) noexcept = default;

const std::vector<Link>& Routes::links() const { return web_->links; }

void Routes::send(int from, int to, double bytes, std::vector<double>& loads) const {
  loads.resize(web_->links.size());
  if (from == to || bytes <= 0) return;
  if (is_line(web_->level.topology)) web_->send_in_order(from, to, bytes, loads);
  else web_->send_shortest(from, to, bytes, loads);
}

double Routes::busiest(const std::vector<double>& loads) const {
  double seconds = 0;
  for (std::size_t i = 0; i < loads.size(); ++i) seconds = std::max(seconds, loads[i] / web_->links[i].bandwidth);
  return seconds;
}

}  // namespace gambrel::hw
