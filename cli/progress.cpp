// Rates are of this session, so that what was stored before does not flatter them.
#include "cli/progress.hpp"

#include <fmt/format.h>

#include <csignal>

namespace gambrel::cli {
namespace {

std::atomic<bool> stop = false;
std::atomic<int> caught = 0;

void on_signal(int signal) {
  caught = signal;
  stop = true;
}

std::string count_text(double count) {
  if (count >= 1e9) return fmt::format("{:.2f} G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f} M", count / 1e6);
  if (count >= 1e4) return fmt::format("{:.1f} k", count / 1e3);
  return fmt::format("{:.0f}", count);
}

/// "1.20 M of 8.00 M points (15 %), 312.0 k points/s, 22 s left"
std::string line(const sim::SweepProgress& p) {
  const double done = static_cast<double>(p.done), total = static_cast<double>(p.total);
  std::string text = count_text(done);
  if (p.total > 0) text += fmt::format(" of {} points ({:.0f} %)", count_text(total), 100 * done / total);
  else text += " points";
  const double rate = p.seconds > 0 ? static_cast<double>(p.computed) / p.seconds : 0;
  if (rate > 0) text += fmt::format(", {} points/s", rate < 10 ? fmt::format("{:.2g}", rate) : count_text(rate));
  if (rate > 0 && p.total > p.done) text += fmt::format(", {} left", duration_text((total - done) / rate));
  return text;
}

}  // namespace

std::optional<std::string> ProgressText::update(const sim::SweepProgress& progress) {
  if (last_done_ == progress.done) return std::nullopt;
  last_done_ = progress.done;
  if (terminal_) {
    open_ = true;
    return "\r\x1b[K" + line(progress);
  }
  // Without a total nothing is known of tenths: each doubling says as much.
  std::uint64_t tenths = 0;
  if (progress.total > 0) tenths = static_cast<std::uint64_t>(10.0 * static_cast<double>(progress.done) / static_cast<double>(progress.total));
  else
    for (std::uint64_t n = progress.done / 1000; n > 0; n /= 2) ++tenths;
  if (tenths <= tenths_) return std::nullopt;
  tenths_ = tenths;
  return line(progress) + "\n";
}

std::string ProgressText::close() { return std::exchange(open_, false) ? "\n" : ""; }

std::string duration_text(double seconds) {
  if (!(seconds < 1e9)) return "very long";
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} d {} h", whole / 86400, whole / 3600 % 24);
}

const std::atomic<bool>& stop_requested() {
  static const bool watched = [] {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESETHAND;  // a second signal ends the process at once
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  (void)watched;
  return stop;
}

int interrupted_exit() { return 128 + (caught == SIGTERM ? SIGTERM : SIGINT); }

}  // namespace gambrel::cli
