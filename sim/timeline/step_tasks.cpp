#include "sim/timeline/step_tasks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gambrel::sim {
namespace {

/// "layers.0-31" of "layers.0-31.attn.qkv"; the name itself outside the layers.
std::string_view block_of(std::string_view name) { return name.starts_with("layers.") ? name.substr(0, name.find('.', 7)) : name; }

/// A pipeline that only goes forward: each stage and each link takes the micro-batches in their order.
PlacedTasks forward_tasks(const PipelineShape& shape, std::size_t most) {
  const auto stages = static_cast<std::uint32_t>(shape.stages);
  const int drawn = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(shape.microbatches), most / (2 * stages)));
  PlacedTasks result;
  for (int m = 0; m < drawn; ++m)
    for (std::uint32_t s = 0; s < stages; ++s) {
      const auto self = static_cast<std::uint32_t>(result.tasks.size());
      result.tasks.push_back({fmt::format("F{}", m), s, compute_stream, shape.work[s].forward, s > 0 ? std::vector{self - 1} : std::vector<std::uint32_t>{}});
      if (s + 1 < stages) result.tasks.push_back({fmt::format("send F{}", m), s, onward_stream, shape.work[s].send, {self}});
    }
  result.when = schedule(result.tasks);
  if (drawn < shape.microbatches) result.note = fmt::format("drawn: the first {} of {} micro-batches", drawn, shape.microbatches);
  return result;
}

class Drawing {
 public:
  explicit Drawing(std::size_t most) : most_(most) {}

  void draw(const Phase& phase) {
    if (phase.pipeline.stages > 1) passes(phase);
    else operators(phase);
    start_ = out_.when.seconds;
  }

  PlacedTasks result() { return std::move(out_); }

 private:
  std::size_t room() const { return most_ > out_.tasks.size() ? most_ - out_.tasks.size() : 0; }

  void note(const std::string& text) {
    if (!text.empty() && out_.note.empty()) out_.note = text;
  }

  void passes(const Phase& phase) {
    PlacedTasks drawn = phase.tails.empty() ? forward_tasks(phase.pipeline, room()) : placed_tasks(phase.pipeline, room());
    note(drawn.note);
    const auto shift = static_cast<std::uint32_t>(out_.tasks.size());
    for (std::size_t i = 0; i < drawn.tasks.size(); ++i) {
      for (std::uint32_t& before : drawn.tasks[i].after) before += shift;
      add(std::move(drawn.tasks[i]), start_ + drawn.when.start[i]);
    }
    for (std::uint32_t task : drawn.when.critical) out_.when.critical.push_back(task + shift);
    const double end = start_ + drawn.when.seconds;
    out_.when.seconds = std::max(out_.when.seconds, end);
    tails(phase, end);
  }

  /// Reductions and the optimizer of every stage, once the pipeline is empty.
  void tails(const Phase& phase, double end) {
    std::size_t longest = 0;
    for (std::size_t s = 0; s < phase.tails.size(); ++s)
      if (phase.tails[s].seconds() > phase.tails[longest].seconds()) longest = s;
    for (std::size_t s = 0; s < phase.tails.size(); ++s) {
      const auto stage = static_cast<std::uint32_t>(s);
      const auto& [reduction, optimizer] = phase.tails[s];
      const bool critical = s == longest;
      if (reduction > 0) add({.name = "exposed reduction and gathering", .stage = stage, .stream = network_stream, .seconds = reduction}, end, critical);
      add({.name = "optimizer", .stage = stage, .stream = compute_stream, .seconds = optimizer}, end + reduction, critical);
    }
  }

  /// Operators of equal layers, layer by layer, one after the other; of several micro-batches one is drawn.
  void operators(const Phase& phase) {
    const double passes = std::max(1, phase.pipeline.microbatches);
    for (std::size_t first = 0; first < phase.ops.size();) {
      std::size_t last = first;
      while (last < phase.ops.size() && block_of(phase.ops[last].name) == block_of(phase.ops[first].name)) ++last;
      const double layers = phase.ops[first].name.starts_with("layers.") ? std::round(layers_of(phase, phase.ops[first].name)) : 1;
      for (double layer = 0; layer < layers && room() > 0; ++layer)
        for (std::size_t i = first; i < last; ++i) add_operator(phase.ops[i]);
      first = last;
    }
    if (passes > 1) note(fmt::format("one of {} micro-batches is drawn", passes));
    if (room() == 0) note(fmt::format("only the first {} operators are drawn", most_));
  }

  static double layers_of(const Phase& phase, const std::string& name) {
    const auto found = std::ranges::find(phase.layers, block_of(name), &LayerTotal::name);
    return found != phase.layers.end() ? found->count : 1;
  }

  void add_operator(const OpEstimate& op) {
    if (op.time.value <= 0) return;
    const std::uint32_t stream = op.message ? network_stream : compute_stream;
    add({.name = op.name, .stream = stream, .seconds = op.time.value}, out_.when.seconds, true);
  }

  void add(Task task, double start, bool critical = false) {
    out_.when.seconds = std::max(out_.when.seconds, start + task.seconds);
    if (critical) out_.when.critical.push_back(static_cast<std::uint32_t>(out_.tasks.size()));
    out_.tasks.push_back(std::move(task));
    out_.when.start.push_back(start);
  }

  std::size_t most_;
  double start_ = 0;
  PlacedTasks out_;
};

}  // namespace

PlacedTasks step_tasks(const Estimate& estimate, std::size_t most) {
  Drawing drawing(most);
  for (const Phase& phase : estimate.phases) drawing.draw(phase);
  return drawing.result();
}

}  // namespace gambrel::sim
