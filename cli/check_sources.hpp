// Where `gambrel check` gets measurements from, other than the suite: files, users' commands, other builds.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/verb.hpp"
#include "kernels/timing/commands.hpp"
#include "kernels/timing/names.hpp"

namespace gambrel::cli {

/// What a file holds. Its context is the file's and the chip's, not this host's.
struct Fed {
  std::vector<kernels::Measurement> measurements;
  kernels::Context context;
};

/// Google Benchmark's JSON (told by its first character, or its name) or CSV with measured_us. Rows of a kind that
/// estimate-ops knows are held against `chip`'s roofline, if that is given; all else has no reference, only times.
Result<Fed> fed_measurements(const Session& session, const std::string& file, const std::string& op, const std::string& chip);

/// One side of --ab.
struct Side {
  kernels::Measure measure;
  bool command = false;  ///< a line for the shell: few samples a run
};
/// A program that measures for a gate (gambrel itself, with these arguments of `check`, or one that runs a kernels::Gate) is
/// a build; all else is a command.
Side build_or_command(const kernels::BenchmarkCommand& command, const std::vector<std::string>& check_arguments);

/// Of what is measured only names that contain the expression. Usage error: `needed`, and there is none.
kernels::Measure only(kernels::Measure measure, const std::string& filter, bool needed);

/// The same as `measure`, for sources that measure all they have whatever a filter leaves out: once each of `sources` of them has,
/// a minimum that fits none of their names is a usage error.
class MinimaCheck {
 public:
  MinimaCheck(kernels::Minima minima, int sources) : minima_(std::move(minima)), missing_(sources) {}
  Result<void> add(const std::vector<kernels::Measurement>& all);

 private:
  kernels::Minima minima_;
  int missing_;
  std::vector<std::string> names_;
};
kernels::Measure checked(kernels::Measure measure, std::shared_ptr<MinimaCheck> check);

/// "KEY=VALUE", several, as facts of a context. Usage error: no such form, a key that is there twice.
Result<kernels::Context> given_facts(const std::vector<std::string>& facts);

/// Minima and limits from a check file.
Result<void> read_check_file(const std::string& file, kernels::GateOptions& options);

}  // namespace gambrel::cli
