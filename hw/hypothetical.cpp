#include "hw/hypothetical.hpp"

namespace gambrel::hw {

DesignCosts::DesignCosts(const Chip& stated, const Technology& technology) : technology_(&technology) {
  const Silicon silicon = silicon_of(stated, technology);
  modelled_ = silicon.total();
  const SquareMetres area = stated.die_area.value > 0 ? stated.die_area : modelled_;
  power_ = full_power(stated, area, technology);
  price_ = price_of(stated, area, silicon.dies, technology).total();
}

void DesignCosts::apply(Chip& chip) const {
  const Silicon silicon = silicon_of(chip, *technology_);
  const double grown = silicon.total() / modelled_;
  chip.die_area = (chip.die_area.value > 0 ? chip.die_area : modelled_) * grown;
  const Watts power = full_power(chip, chip.die_area, *technology_);
  chip.tdp = chip.tdp.value > 0 ? chip.tdp * (power / power_) : power;
  chip.idle = chip.idle * grown;
  const double dearer = price_of(chip, chip.die_area, silicon.dies, *technology_).total() / price_;
  chip.hourly_price = chip.hourly_price * dearer;
  chip.capex = chip.capex * dearer;
}

}  // namespace gambrel::hw
