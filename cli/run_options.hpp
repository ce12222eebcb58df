// The options by which several verbs take a run: a file, or its parts on the command line, and --set.
#pragma once

#include <string>
#include <vector>

#include "cli/verb.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"

namespace gambrel::cli {

/// Parses "path=value" of --set.
Result<std::vector<sim::Setting>> parse_settings(const std::vector<std::string>& texts);

/// A setting that an option of its own stands for.
sim::Setting setting_of(std::string option, std::string path, std::string value);

/// Loads, reads and estimates a run file (a name in configs/runs/ or a path).
Result<sim::Estimate> estimate_file(const Session& session, const std::string& file, const std::vector<sim::Setting>& settings);

/// A run given by options instead of a file.
struct InlineRun {
  std::string model, chip, system, phase;  ///< no phase: decode
  std::string batch, context, new_tokens, past_tokens, input, output;

  void declare(Options& options);
  bool given() const;
  /// The run document these options stand for; positions lie in the reconstructed command line.
  Result<Node> document() const;
};

}  // namespace gambrel::cli
