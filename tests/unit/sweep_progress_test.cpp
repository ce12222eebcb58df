// Progress as text, on a terminal and in a log.
#include "cli/progress.hpp"

#include <doctest/doctest.h>

using gambrel::cli::duration_text;
using gambrel::cli::ProgressText;

TEST_CASE("progress: a terminal's line is rewritten, with rate and time left") {
  ProgressText text(true);
  CHECK(text.update({.done = 1'200'000, .total = 8'000'000, .computed = 624'000, .seconds = 2}) == "\r\x1b[K1.20 M of 8.00 M points (15 %), 312.0 k points/s, 22 s left");
  CHECK_FALSE(text.update({.done = 1'200'000, .total = 8'000'000, .computed = 624'000, .seconds = 3}).has_value());
  CHECK(text.update({.done = 8'000'000, .total = 8'000'000, .computed = 7'000'000, .seconds = 20}) == "\r\x1b[K8.00 M of 8.00 M points (100 %), 350.0 k points/s");
  CHECK(text.close() == "\n");
  CHECK(text.close().empty());
}

TEST_CASE("progress: a log has a line at each tenth") {
  ProgressText text(false);
  int lines = 0;
  for (std::uint64_t done = 0; done <= 1000; ++done)
    if (const auto line = text.update({.done = done, .total = 1000, .computed = done, .seconds = 1})) {
      ++lines;
      CHECK(line->ends_with("\n"));
      CHECK(line->find('\r') == line->npos);
    }
  CHECK(lines == 10);
  CHECK(text.close().empty());
}

TEST_CASE("progress: a search that does not know its end says how far it is all the same") {
  ProgressText text(false);
  int lines = 0;
  for (std::uint64_t done = 0; done <= 8000; done += 100) lines += text.update({.done = done, .computed = done, .seconds = 1}).has_value();
  CHECK(lines == 4);  // at 1000, 2000, 4000, 8000
}

TEST_CASE("progress: nothing is divided by zero") {
  ProgressText text(true);
  CHECK(text.update({.done = 0, .total = 10}) == "\r\x1b[K0 of 10 points (0 %)");
  CHECK(text.update({.done = 1, .total = 10, .computed = 1, .seconds = 4}) == "\r\x1b[K1 of 10 points (10 %), 0.25 points/s, 36 s left");
}

TEST_CASE("progress: durations") {
  CHECK(duration_text(0.2) == "0 s");
  CHECK(duration_text(59.4) == "59 s");
  CHECK(duration_text(200) == "3 min 20 s");
  CHECK(duration_text(7500) == "2 h 5 min");
  CHECK(duration_text(4.13 * 86400) == "4 d 3 h");
  CHECK(duration_text(1e300) == "very long");
}
