#include "sim/sweep/design_point.hpp"

namespace gambrel::sim {

std::uint64_t DesignSpace::size() const {
  std::uint64_t points = 1;
  for (const SweepAxis& axis : axes()) points *= axis.size();
  return points;
}

Coordinates DesignSpace::coordinates_of(std::uint64_t index) const {
  Coordinates coordinates(axes().size());
  for (std::size_t i = coordinates.size(); i-- > 0;) {
    const std::uint64_t values = axes()[i].size();
    coordinates[i] = static_cast<std::uint32_t>(index % values);
    index /= values;
  }
  return coordinates;
}

std::uint64_t DesignSpace::index_of(std::span<const std::uint32_t> coordinates) const {
  std::uint64_t index = 0;
  for (std::size_t i = 0; i < coordinates.size(); ++i) index = index * axes()[i].size() + coordinates[i];
  return index;
}

}  // namespace gambrel::sim
