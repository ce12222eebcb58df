// How far a long job is, for the diagnostics' stream; and the signals that end it in good order.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "sim/sweep/engine.hpp"

namespace gambrel::cli {

/// On a terminal one line that is rewritten: rate and time left. Elsewhere (a log) a line at each 10 %.
class ProgressText {
 public:
  explicit ProgressText(bool terminal) : terminal_(terminal) {}
  /// What to print now, line ends included; nothing if there is nothing new to say.
  std::optional<std::string> update(const sim::SweepProgress& progress);
  /// What ends the line, before anything else is printed.
  std::string close();

 private:
  bool terminal_;
  bool open_ = false;
  std::uint64_t tenths_ = 0;
  std::optional<std::uint64_t> last_done_;
};

/// "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h".
std::string duration_text(double seconds);

/// Becomes true at SIGINT or SIGTERM (watched from the first call on); the second one ends the process at once.
const std::atomic<bool>& stop_requested();
/// 130 after SIGINT, 143 after SIGTERM: what an interrupted verb exits with.
int interrupted_exit();

}  // namespace gambrel::cli
