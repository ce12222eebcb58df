// Runs a program and waits for it: fresh processes of a gate, and users' benchmarks.
#pragma once

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace gambrel::kernels {

struct Command {
  std::vector<std::string> arguments;  ///< the program first; looked for on PATH
  std::vector<std::pair<std::string, std::string>> environment;  ///< added to this process's
  double timeout_s = 0;                     ///< after which it is ended; 0: never
  const std::atomic<bool>* stop = nullptr;  ///< becomes true to end it
};

struct Finished {
  int code = 0;  ///< exit code, or 128 + signal
  std::string out;  ///< its standard output; its standard error is this process's
  double wall = 0, cpu = 0;  ///< seconds, of it and of what it waited for
};

/// Error: the program cannot be started, or was ended before its time, with all that it had started. It gets no standard
/// input; one with a time limit or a stop is in a process group of its own.
Result<Finished> run(const Command& command);

/// What run() returns if its stop was asked for.
Diagnostic interrupted();

/// A line for the shell, as one command.
Command shell(const std::string& line);

/// A new empty file, STEM-XXXXXX. Error: the folder for temporary files cannot be written.
Result<std::string> temporary_file(const std::string& stem);

/// This process's program and arguments, to start it once more.
Result<Command> this_command();

}  // namespace gambrel::kernels
