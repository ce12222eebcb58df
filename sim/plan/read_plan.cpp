#include "sim/plan/read_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/data_type.hpp"

namespace gambrel::sim {
namespace {

using models::MeshAxis;

template <class Value>
using Names = std::initializer_list<std::pair<std::string_view, Value>>;

/// The schema has checked that the name is one of these.
template <class Value>
Value named(const Node& node, std::string_view key, Value otherwise, Names<Value> names) {
  const std::string text = node.text_or(key, "");
  for (const auto& [name, value] : names)
    if (name == text) return value;
  return otherwise;
}

int whole(const Node& node, std::string_view key, int otherwise) { return static_cast<int>(std::min(node.number_or(key, otherwise), 1e9)); }

Result<void> read_sequence(const Node& plan, ParallelismPlan& out) {
  const Node* sequence = plan.find("sequence");
  if (!sequence) return {};
  if (sequence->is_number()) {
    if (sequence->number != 1 && sequence->number != out.tensor)
      return fail({sequence->at, fmt::format("sequence {} is not tensor's {}", sequence->number, out.tensor), "sequence parallelism runs over the tensor axis: true, or tensor's number"});
    out.sequence = sequence->number > 1;
  } else {
    out.sequence = plan.boolean_or("sequence", false) && out.tensor > 1;
  }
  return {};
}

void read_schedule(const Node& plan, ParallelismPlan& out) {
  using models::ContextExchange, models::Layout, models::Recompute;
  out.schedule = named<Schedule>(plan, "schedule", Schedule::one_forward_one_backward,
                                 {{"gpipe", Schedule::gpipe}, {"interleaved", Schedule::interleaved}, {"zero-bubble", Schedule::zero_bubble}});
  out.recompute = named<Recompute>(plan, "recompute", Recompute::none, {{"selective", Recompute::selective}, {"full", Recompute::full}});
  out.layout = named<Layout>(plan, "layout", Layout::weight_stationary_1d, {{"2d", Layout::weight_stationary_2d}, {"weight-gathered", Layout::weight_gathered}});
  out.exchange = named<ContextExchange>(plan, "context_exchange", ContextExchange::ring, {{"all-gather", ContextExchange::all_gather}, {"ulysses", ContextExchange::ulysses}});
  out.interleave = whole(plan, "interleave", 1);
  if (out.interleave > 1 && !plan.find("schedule")) out.schedule = Schedule::interleaved;
  if (const Node* overlap = plan.find("overlap")) {
    out.overlap_gradients = overlap->boolean_or("gradients", true);
    out.overlap_weights = overlap->boolean_or("weights", true);
    out.overlap_tensor = overlap->number_or("tensor", 0);
    out.overlap_expert = overlap->number_or("expert", 0);
  }
}

Result<void> read_place(const Node& plan, ParallelismPlan& out) {
  const Node* place = plan.find("place");
  if (!place) return {};
  for (const Member& m : place->members) {
    std::vector<std::string> levels;
    for (const Node& item : m.value.is_sequence() ? m.value.items : std::vector<Node>{m.value}) levels.push_back(item.text);
    for (int a = 0; a < models::mesh_axis_count; ++a)
      if (to_string(static_cast<MeshAxis>(a)) == m.key) out.place.emplace_back(static_cast<MeshAxis>(a), levels);
  }
  return {};
}

/// Sizes that are left out: data takes the chips that are left, expert_data what the expert mesh leaves.
Result<void> complete(const Node& document, const Node& plan, Run& run) {
  ParallelismPlan& p = run.plan;
  const double used = double(p.tensor) * p.context * p.pipeline;
  const Node* chips = document.find("chips");
  run.chips = whole(document, "chips", 1);
  if (chips && !plan.find("data")) p.data = std::max(1, static_cast<int>(run.chips / used));
  const double product = used * p.data;
  if (!chips) run.chips = static_cast<int>(std::min(product, 1e9));
  if (product != run.chips) {
    const bool divides = std::fmod(run.chips, used) == 0;
    return fail({plan.at, fmt::format("tensor {} x context {} x pipeline {} x data {} = {} chips, not {}", p.tensor, p.context, p.pipeline, p.data, product, run.chips),
                 divides ? fmt::format("data: {} would fit", run.chips / used) : fmt::format("tensor x context x pipeline must divide {}", run.chips)});
  }
  const int rest = p.tensor * p.context * p.data;
  if (!plan.find("expert_data")) p.expert_data = std::max(1, static_cast<int>(rest / (double(p.expert) * p.expert_tensor)));
  return {};
}

Result<void> check_chips(const Run& run) {
  const int there = run.system.pools.front().chips();
  if (run.chips > there) return fail({run.plan_at, fmt::format("{} chips, but {} has {}", run.chips, run.system.id, there), "a larger system, or a smaller plan"});
  return {};
}

Result<void> check(const Node& plan, const Run& run) {
  if (auto enough = check_chips(run); !enough) return enough;
  if (const auto problem = problem_with(run.plan, run.model, run.chips)) return fail({plan.at, problem->first, problem->second});
  if (axis_orders(run.plan, run.system.pools.front()).empty())
    return fail({plan.find("place")->at, "no order of the axes puts each into the levels it names", "an axis fits a level if its chips lie within one member of the next level out"});
  return {};
}

Result<void> read_mapping(const Node& document, const Node& plan, Run& run) {
  ParallelismPlan& p = run.plan;
  p.tensor = whole(plan, "tensor", 1);
  p.context = whole(plan, "context", 1);
  p.pipeline = whole(plan, "pipeline", 1);
  p.data = whole(plan, "data", 1);
  p.expert = whole(plan, "expert", 1);
  p.expert_tensor = whole(plan, "expert_tensor", 1);
  p.expert_data = whole(plan, "expert_data", 1);
  p.zero = whole(plan, "zero", 0);
  p.microbatches = whole(plan, "microbatches", 0);
  if (auto read = read_sequence(plan, p); !read) return read;
  read_schedule(plan, p);
  if (auto read = read_place(plan, p); !read) return read;
  if (auto done = complete(document, plan, run); !done) return done;
  if (auto legal = check(plan, run); !legal) return legal;
  const Node* sites = plan.find("sites");
  return sites ? read_sites(*sites, run) : Result<void>{};
}

}  // namespace

Result<void> read_plan(const Node& document, Run& run) {
  const Node* plan = document.find("plan");
  run.plan_at = plan ? plan->at : document.find("chips") ? document.find("chips")->at : document.at;
  if (!plan || plan->is_null()) {
    Node none = Node::mapping();
    none.at = run.plan_at;
    return read_mapping(document, none, run);
  }
  if (plan->is_mapping()) return read_mapping(document, *plan, run);
  if (plan->text != "best") return fail({plan->at, fmt::format("'{}' is no plan", plan->text), "best, or a mapping: {tensor: 8, pipeline: 4}"});
  run.best_plan = true;
  run.chips = whole(document, "chips", run.system.pools.front().chips());
  return check_chips(run);
}

Result<void> read_training_precision(const Node& precision, models::TrainingPrecision& training) {
  const std::array<std::pair<std::string_view, DataType*>, 4> keys{{{"gradients", &training.gradients}, {"reduce", &training.reduced}, {"master", &training.master}, {"optimizer", &training.moments}}};
  for (const auto& [key, type] : keys) {
    const Node* node = precision.find(key);
    if (!node) continue;
    auto parsed = read_data_type(*node);
    if (!parsed) return fail(parsed.error());
    *type = parsed->type;
    if (key == "gradients") training.reduced = parsed->type;
  }
  return {};
}

}  // namespace gambrel::sim
