// What `show --area` prints: the area, price and margins of a chip by the model of hw/silicon.
#pragma once

#include <string>

#include "base/node.hpp"
#include "hw/silicon.hpp"

namespace gambrel::cli {

/// Areas in mm2, prices in USD, powers in W; `chip` with its energies filled.
Node area_node(const hw::Chip& chip, const hw::Technology& technology);
std::string area_text(const hw::Chip& chip, const hw::Technology& technology);

}  // namespace gambrel::cli
