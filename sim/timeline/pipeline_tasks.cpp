// The tasks of a pipeline's schedule, each with those it waits for: to draw it, and to check its time another way.
#include <fmt/format.h>

#include "sim/timeline/pipeline.hpp"

namespace gambrel::sim {
namespace {

std::string name_of(const Pipeline& p, const Step& step) {
  const char letter = "FBW"[static_cast<int>(step.pass)];
  return p.chunks > 1 ? fmt::format("{}{}.{}", letter, step.microbatch, step.chunk) : fmt::format("{}{}", letter, step.microbatch);
}

/// Stream a pass's message goes out on; one that does not overlap is the stage's own work.
std::uint32_t send_stream(const Pipeline& p, const Step& step) {
  return !p.shape.overlap_sends ? 0 : step.pass == Pass::forward ? 1 : 2;
}

class Drawing {
 public:
  explicit Drawing(const Pipeline& of)
      : p(of), last_(of.stages, none), activations_(static_cast<std::size_t>(of.parts()) * of.microbatches, none), gradients_(activations_) {}

  void draw(const Step& step) {
    const int part = step.chunk * p.stages + step.stage;
    auto& inputs = step.pass == Pass::forward ? activations_ : gradients_;
    const auto self = add(step, step.pass == Pass::weights ? none : inputs[slot(part, step.microbatch)]);
    if (step.pass == Pass::forward && part + 1 == p.parts()) gradients_[slot(part, step.microbatch)] = self;
    else if (step.pass == Pass::forward) activations_[slot(part + 1, step.microbatch)] = send(step, self);
    else if (step.pass == Pass::backward && part > 0) gradients_[slot(part - 1, step.microbatch)] = send(step, self);
  }

  std::vector<Task> tasks;

 private:
  static constexpr std::uint32_t none = ~0u;
  std::size_t slot(int part, int microbatch) const { return static_cast<std::size_t>(part) * p.microbatches + microbatch; }

  std::uint32_t add(const Step& step, std::uint32_t input) {
    Task task{name_of(p, step), static_cast<std::uint32_t>(step.stage), 0, pass_time(p, step), {}};
    for (std::uint32_t before : {last_[step.stage], input})
      if (before != none) task.after.push_back(before);
    tasks.push_back(std::move(task));
    return last_[step.stage] = static_cast<std::uint32_t>(tasks.size() - 1);
  }

  /// A send that takes no time is none: what waits for it waits for `sender`.
  std::uint32_t send(const Step& step, std::uint32_t sender) {
    const double seconds = send_time(p, step);
    if (seconds == 0) return sender;
    tasks.push_back({"send " + name_of(p, step), static_cast<std::uint32_t>(step.stage), send_stream(p, step), seconds, {sender}});
    const auto self = static_cast<std::uint32_t>(tasks.size() - 1);
    if (!p.shape.overlap_sends) last_[step.stage] = self;
    return self;
  }

  const Pipeline& p;
  std::vector<std::uint32_t> last_;  ///< of each stage: its latest task
  std::vector<std::uint32_t> activations_, gradients_;  ///< [part][micro-batch]: the task whose end brings them
};

/// Passes and sends, if every send takes time.
std::size_t task_count(const Pipeline& p) {
  const auto passes = static_cast<std::size_t>(p.stages) * p.passes;
  return passes * (p.split ? 3 : 2) + passes * 2;
}

/// The first and last micro-batches, as many as fit, from the whole simulation.
PlacedTasks excerpt(const Pipeline& p, std::size_t most) {
  const int fit = static_cast<int>(most / (task_count(p) / p.microbatches)), head = (fit + 1) / 2, tail = fit / 2;
  PlacedTasks result;
  const auto add = [&](std::string name, const Step& step, std::uint32_t stream, double end, double seconds) {
    result.tasks.push_back({std::move(name), static_cast<std::uint32_t>(step.stage), stream, seconds, {}});
    result.when.start.push_back(end - seconds);
  };
  Clock clock(p);
  walk(p, [&](const Step& step) {
    const Clock::Placed placed = clock.place(step);
    if (step.microbatch >= head && step.microbatch < p.microbatches - tail) return;
    add(name_of(p, step), step, 0, placed.end, pass_time(p, step));
    if (const double send = send_time(p, step); send > 0) add("send " + name_of(p, step), step, send_stream(p, step), placed.arrival, send);
  });
  result.when.seconds = clock.result().seconds;
  result.note = fmt::format("drawn: the first {} and last {} of {} micro-batches", head, tail, p.microbatches);
  return result;
}

}  // namespace

std::vector<Task> tasks_of(const PipelineShape& shape) {
  const Pipeline pipeline(shape);
  Drawing drawing(pipeline);
  walk(pipeline, [&](const Step& step) { drawing.draw(step); });
  return std::move(drawing.tasks);
}

PlacedTasks placed_tasks(const PipelineShape& shape, std::size_t most) {
  const Pipeline pipeline(shape);
  if (task_count(pipeline) > most) return excerpt(pipeline, most);
  PlacedTasks result{tasks_of(shape), {}, {}};
  result.when = schedule(result.tasks);
  return result;
}

}  // namespace gambrel::sim
