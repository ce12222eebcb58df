#include "sim/energy.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gambrel::sim {
namespace {

/// Energies of the machine's own level first, then of the links.
double joules_per_byte(const hw::Chip& chip, std::string_view name) {
  const auto found = std::ranges::find(chip.energy.movement, name, &std::pair<std::string, JoulesPerByte>::first);
  return found == chip.energy.movement.end() ? 0 : found->second.value;
}

/// Bytes that one rank sends of a message: what a bandwidth-optimal algorithm sends (Patarasuk & Yuan 2009).
double sent_bytes(std::string_view collective, Bytes message, double ranks) {
  if (ranks <= 1) return 0;
  const double passes = collective == "all_reduce" ? 2 : 1;
  return message.value * passes * (ranks - 1) / ranks;
}

/// What the matrix unit computes costs as its format; the rest as the vector unit's, where that is known.
std::optional<double> arithmetic(const OpEstimate& op, const hw::Chip& chip, const Machine& machine) {
  const double per_flop = machine.energy_per_flop[static_cast<std::size_t>(op.math)];
  const double per_vector_flop = chip.energy.vector.value > 0 ? chip.energy.vector.value : per_flop;
  const bool contraction = op.flops.value > 0 && op.vector_flops.value != op.flops.value;
  if (contraction && per_flop == 0) return std::nullopt;
  return op.vector_flops.value * per_vector_flop + (contraction ? op.flops.value * per_flop : 0);
}

std::optional<Energy> energy_of(const OpEstimate& op, const hw::Chip& chip, const Machine& machine) {
  const auto math = arithmetic(op, chip, machine);
  if (!math || machine.energy[machine.main_level] == 0) return std::nullopt;
  Energy energy{.arithmetic = Joules{*math}};
  for (std::size_t i = 0; i < std::min(op.levels.size(), machine.energy.size()); ++i)
    energy.movement += Joules{op.levels[i].bytes.value * machine.energy[i]};
  if (const auto& sent = op.message)
    energy.movement += Joules{sent_bytes(sent->collective, sent->bytes, sent->ranks) * joules_per_byte(chip, chip.link_name)};
  return energy;
}

/// Between stages and data ranks, of all chips.
Joules exchange_energy(const Phase& phase, const hw::Chip& chip, double chips) {
  double bytes = 0;
  for (const NetworkUse& use : phase.exchanges) bytes += use.count * sent_bytes(use.collective, use.bytes, use.ranks);
  return Joules{bytes * chips * joules_per_byte(chip, chip.link_name)};
}

/// Every chip draws its idle power all the time.
void total_energy(Total& total, const std::vector<const OpEstimate*>& ops, Joules exchanges, const hw::Chip& chip, double chips) {
  Energy sum{.movement = exchanges};
  for (const OpEstimate* op : ops) {
    if (!op->energy) return;
    sum.arithmetic += op->energy->arithmetic * (op->count * op->ranks);
    sum.movement += op->energy->movement * (op->count * op->ranks);
  }
  const double seconds = total.time.value;
  total.active_energy = sum;
  total.idle_energy = Joules{chip.idle.value * seconds * chips};
  total.energy = sum.total() + total.idle_energy;
  if (seconds > 0) total.power = Watts{total.energy->value / (seconds * chips)};
  if (total.power && chip.tdp.value > 0) total.power_share = *total.power / chip.tdp;
}

void note_power(Estimate& estimate, const hw::Chip& chip) {
  for (const Phase& phase : estimate.phases)
    if (phase.total.power_share > 1)
      estimate.notes.push_back(fmt::format("{} would draw {} of {} a chip: throttled, or the energy table is pessimistic",
                                           phase.name, to_string(*phase.total.power, 3), to_string(chip.tdp, 3)));
}

}  // namespace

void add_energy(Estimate& estimate, const Run& run, const Machine& machine) {
  const hw::Chip& chip = run.system.chip();
  std::vector<const OpEstimate*> everything;
  Joules all_exchanges;
  for (Phase& phase : estimate.phases) {
    std::vector<const OpEstimate*> ops;
    for (OpEstimate& op : phase.ops) {
      op.energy = energy_of(op, chip, machine);
      ops.push_back(&op);
    }
    const Joules exchanges = exchange_energy(phase, chip, run.chips);
    total_energy(phase.total, ops, exchanges, chip, run.chips);
    everything.insert(everything.end(), ops.begin(), ops.end());
    all_exchanges += exchanges;
  }
  total_energy(estimate.total, everything, all_exchanges, chip, run.chips);
  note_power(estimate, chip);
  if (estimate.total.energy) estimate.notes.insert(estimate.notes.end(), run.energy_notes.begin(), run.energy_notes.end());
}

}  // namespace gambrel::sim
