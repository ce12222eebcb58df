// Runs a program and waits for it: fresh processes of a gate, and users' benchmarks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace gambrel::kernels {

struct Command {
  std::vector<std::string> arguments;  ///< the program first; looked for on PATH
  std::vector<std::pair<std::string, std::string>> environment;  ///< added to this process's
};

struct Finished {
  int code = 0;  ///< exit code, or 128 + signal
  std::string out;  ///< its standard output; its standard error is this process's
  double wall = 0, cpu = 0;  ///< seconds, of it and of what it waited for
};

/// Error: the program cannot be started. It gets no standard input.
Result<Finished> run(const Command& command);

/// A line for the shell, as one command.
Command shell(const std::string& line);

/// This process's program and arguments, to start it once more.
Result<Command> this_command();

}  // namespace gambrel::kernels
