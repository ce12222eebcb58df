// Trace Event Format ("Trace Event Format", Google, 2016): one line an event, written as it goes, for it may have 200,000.
#include "reports/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include "base/load.hpp"
#include "base/text.hpp"

namespace gambrel::reports {
namespace {

/// A JSON string, quotes and all; what would disturb a screen (controls, bytes that are not UTF-8) shows as escapes.
std::string json_string(std::string_view text) { return to_json(Node::of(std::string_view(printable(text))), -1); }

/// Seconds -> microseconds to the picosecond, so that rounding does not make neighbours overlap on the screen.
std::string microseconds(double seconds) { return fmt::format("{:.6f}", seconds * 1e6); }

/// The tasks to write, in order of start: all, or the earliest and the latest.
std::vector<std::size_t> chosen(const std::vector<double>& start, std::size_t count, std::size_t most) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return start[i]; });
  if (count > most) order.erase(order.begin() + static_cast<std::ptrdiff_t>((most + 1) / 2), order.end() - static_cast<std::ptrdiff_t>(most / 2));
  return order;
}

class Writer {
 public:
  Writer(const TraceNames& of) : names(of) {}

  void name_stage(std::uint32_t stage) {
    metadata("process_name", stage, 0, fmt::format("\"name\": {}", json_string(fmt::format("{} {}", names.stage, stage))));
    metadata("process_sort_index", stage, 0, fmt::format("\"sort_index\": {}", stage));
  }
  void name_stream(std::uint32_t stage, std::uint32_t stream) {
    const std::string name = stream < names.streams.size() ? names.streams[stream] : fmt::format("stream {}", stream);
    metadata("thread_name", stage, stream, fmt::format("\"name\": {}", json_string(name)));
    metadata("thread_sort_index", stage, stream, fmt::format("\"sort_index\": {}", stream));
  }
  void task(const sim::Task& task, double start, bool critical) {
    event(fmt::format(R"({{"name": {}, "cat": "{}", "ph": "X", "ts": {}, "dur": {}, "pid": {}, "tid": {}, "args": {{"critical": {}}}}})", json_string(task.name),
                      critical ? "critical" : "task", microseconds(start), microseconds(task.seconds), task.stage, task.stream, critical));
  }
  std::string finish(std::string_view note) && {
    return fmt::format("{{\"traceEvents\": [\n{}\n],\n\"displayTimeUnit\": \"ms\",\n\"otherData\": {{\"title\": {}, \"note\": {}}}}}\n", events_, json_string(names.title), json_string(note));
  }

 private:
  void metadata(std::string_view name, std::uint32_t pid, std::uint32_t tid, std::string_view args) {
    event(fmt::format(R"({{"name": "{}", "ph": "M", "pid": {}, "tid": {}, "args": {{{}}}}})", name, pid, tid, args));
  }
  void event(const std::string& text) {
    if (!events_.empty()) events_ += ",\n";
    events_ += text;
  }

  const TraceNames& names;
  std::string events_;
};

std::string joined(std::string_view note, std::size_t left_out) {
  if (left_out == 0) return std::string(note);
  return fmt::format("{}{}{} tasks in the middle are left out", note, note.empty() ? "" : "; ", left_out);
}

}  // namespace

std::string write_trace(std::span<const sim::Task> tasks, const sim::Scheduled& when, const TraceNames& names, std::string_view note, std::size_t most) {
  std::vector<bool> critical(tasks.size());
  for (std::uint32_t i : when.critical) critical[i] = true;
  Writer writer(names);
  std::set<std::uint32_t> stages;
  std::set<std::pair<std::uint32_t, std::uint32_t>> streams;
  const auto order = chosen(when.start, tasks.size(), most);
  for (std::size_t i : order) {
    const sim::Task& task = tasks[i];
    if (stages.insert(task.stage).second) writer.name_stage(task.stage);
    if (streams.insert({task.stage, task.stream}).second) writer.name_stream(task.stage, task.stream);
    writer.task(task, when.start[i], critical[i]);
  }
  return std::move(writer).finish(joined(note, tasks.size() - order.size()));
}

}  // namespace gambrel::reports
