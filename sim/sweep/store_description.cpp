// When two sweeps are the same, and how they differ when they are not.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/version.hpp"
#include "sim/sweep/store.hpp"

namespace gambrel::sim {
namespace {

std::string paths_of(const std::vector<SweepAxis>& axes) {
  std::vector<std::string> names;
  for (const SweepAxis& axis : axes) names.push_back(fmt::format("{} ({})", fmt::join(axis.paths, "+"), axis.size()));
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string names_of(const std::vector<Objective>& objectives) {
  std::vector<std::string> names;
  for (const Objective& o : objectives) names.push_back((o.maximise ? "maximise " : "minimise ") + o.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string names_of(const std::vector<FigureColumn>& columns) {
  std::vector<std::string> names;
  for (const FigureColumn& c : columns) names.push_back(c.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// The first axis value that differs.
std::string value_difference(const std::vector<SweepAxis>& there, const std::vector<SweepAxis>& here) {
  for (std::size_t a = 0; a < there.size(); ++a)
    for (std::size_t v = 0; v < there[a].size(); ++v)
      if (there[a].values[v] != here[a].values[v])
        return fmt::format("value {} of its axis {} is {}, here {}", v + 1, fmt::join(there[a].paths, "+"), fmt::join(there[a].values[v], "+"), fmt::join(here[a].values[v], "+"));
  return "";
}

}  // namespace

SweepDescription describe(const DesignSpace& space, const SearchOptions& search, const Keep& keep) {
  SweepDescription sweep{.axes = space.axes(), .columns = space.columns(), .objectives = space.objectives(), .constraints = space.constraints(), .search = search.kind, .keep = keep};
  for (SweepAxis& axis : sweep.axes) axis.at.clear();
  sweep.first_design = fmt::format("{:02x}", fmt::join(point_key(space.canonical(space.coordinates_of(0))), ""));
  sweep.learns = search_learns(search.kind);
  if (search.kind != "exhaustive") sweep.search += fmt::format(", {} points, seed {}", search.points > 0 ? fmt::format("{}", search.points) : "default", search.seed);
  sweep.version = commit().empty() ? std::string(version()) : fmt::format("{} {}", version(), commit());
  return sweep;
}

std::string difference(const SweepDescription& there, const SweepDescription& here) {
  const auto differ = [](std::string_view what, const std::string& a, const std::string& b) { return a == b ? std::string() : fmt::format("its {} {}; here {}", what, a, b); };
  for (const std::string& found : {differ("axes are", paths_of(there.axes), paths_of(here.axes)), differ("figures are", names_of(there.columns), names_of(here.columns)),
                                   differ("objectives are", names_of(there.objectives), names_of(here.objectives)),
                                   differ("constraints are", fmt::format("{}", fmt::join(there.constraints, "; ")), fmt::format("{}", fmt::join(here.constraints, "; "))),
                                   differ("search is", there.search, here.search), differ("rows are --keep", to_string(there.keep), to_string(here.keep)),
                                   differ("gambrel is", there.version, here.version)})
    if (!found.empty()) return found;
  if (const std::string found = value_difference(there.axes, here.axes); !found.empty()) return found;
  return there.first_design == here.first_design ? "" : "its model, machine or workload is another one, or a configuration file has changed since";
}

}  // namespace gambrel::sim
