// Where `gambrel check` gets measurements from, other than the suite: files, users' commands, other builds.
#pragma once

#include <string>

#include "cli/verb.hpp"
#include "kernels/timing/commands.hpp"

namespace gambrel::cli {

/// Google Benchmark's JSON (told by its first character) or CSV with measured_us. Rates are held against anchors that are
/// timed now, and rows of a kind that estimate-ops knows, with `chip`, against that chip's roofline.
Result<std::vector<kernels::Measurement>> fed_measurements(const Session& session, const std::string& file, const std::string& op, const std::string& chip);

/// One side of --ab: the program of another gambrel build, which measures the same suite, or a line for the shell.
kernels::Measure build_or_command(const std::string& side, const std::vector<std::string>& check_arguments);

/// Minima and limits from a check file.
Result<void> read_check_file(const std::string& file, kernels::GateOptions& options);

}  // namespace gambrel::cli
