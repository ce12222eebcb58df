// Writer of a schedule as a Chrome trace, which ui.perfetto.dev and chrome://tracing draw.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/timeline/timeline.hpp"

namespace gambrel::reports {

struct TraceNames {
  std::string title;                     ///< of the whole, shown among its properties
  std::string stage = "stage";           ///< a process is called "stage 3"
  std::vector<std::string> streams = {"compute", "send onward", "send back"};  ///< of Task::stream; more are "stream 3"
};

/// Trace Event Format (JSON object form): a complete event (ph X) a task, pid = stage, tid = stream, ts and dur in
/// microseconds; args.critical marks the critical path. Names are escaped, whatever they hold. Of more than `most` tasks
/// the earliest half and the latest half are written; `note` and what was left out stand in otherData.note.
/// `when.start` has a start for each task.
std::string write_trace(std::span<const sim::Task> tasks, const sim::Scheduled& when, const TraceNames& names, std::string_view note = {}, std::size_t most = 200'000);

inline std::string write_trace(const sim::PlacedTasks& placed, const TraceNames& names) { return write_trace(placed.tasks, placed.when, names, placed.note); }

}  // namespace gambrel::reports
