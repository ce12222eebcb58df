// Inside sim/ only: costs -> the rows, totals and notes of an Estimate.
#pragma once

#include <string>
#include <vector>

#include "sim/compose.hpp"
#include "sim/cost_model.hpp"
#include "sim/estimate.hpp"

namespace gambrel::sim {

/// Everything about an estimate that is known before its phases: names, settings, memory, parameters, sources.
Estimate describe(const Run& run, const Fit& fit);

/// One row an operator.
Phase make_phase(std::string name, const models::Graph& graph, const CostModel& model, const Costs& costs, double tokens);

/// Sums the rows of each kind of layer; what a layer keeps comes from the graph.
std::vector<LayerTotal> layer_totals(const Phase& phase, const models::Graph& graph);

/// The figures of a phase's rows as one vector, and back (bounds are settled anew): for means over steps.
std::vector<double> pack(const Phase& phase);
void unpack(const std::vector<double>& figures, Phase& phase);

/// All collectives of the phases, equal ones added up.
std::vector<NetworkUse> network_uses(const std::vector<Phase>& phases);

/// What the ranks of a replica compute, against the unsharded model: graphs of one rank and of one chip, forward alone or
/// with their backward passes.
PlanFlops plan_flops(std::initializer_list<const models::Graph*> rank, std::initializer_list<const models::Graph*> whole, double ranks);

/// What training keeps beside weights and activations, in the tier of the main memory, and when the most is kept.
void add_stage_memory(MemoryUse& memory, const StageMemory& stage, std::size_t main_tier, std::string_view when, int stages);

/// Totals of each phase and of all, roofs, serving figures, notes on what was replaced.
void finish(Estimate& estimate, const Run& run, const Machine& machine);

}  // namespace gambrel::sim
