// A verb of the command line: its options and what it does. One file a verb, one row in verbs.cpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/catalog.hpp"
#include "base/diagnostic.hpp"

namespace gambrel::cli {

/// Exit codes (DESIGN's contract).
enum Exit { done = 0, check_failed = 1, usage = 2, bad_input = 3, environment = 4, not_measurable = 5 };

/// Declares options; main.cpp turns the declarations into a parser. Every target outlives the parsing.
class Options {
 public:
  virtual ~Options() = default;
  virtual void positional(std::string name, std::string& target, std::string help, bool required = true) = 0;
  virtual void positionals(std::string name, std::vector<std::string>& target, std::string help) = 0;
  virtual void option(std::string flag, std::string& target, std::string help) = 0;
  virtual void option(std::string flag, std::vector<std::string>& target, std::string help) = 0;
  virtual void choice(std::string flag, std::string& target, std::vector<std::string> allowed, std::string help) = 0;
  virtual void flag(std::string flag, bool& target, std::string help) = 0;
  /// Text below the options in --help.
  virtual void note(const std::string&) {}
};

/// What verbs act on: the configuration folder, standard output, the diagnostics' stream.
class Session {
 public:
  explicit Session(Catalog catalog) : catalog_(std::move(catalog)) {}
  const Catalog& catalog() const { return catalog_; }

  /// Writes the result to standard output; `environment` if that fails (a full disk, a closed pipe).
  int print(std::string_view text) const;
  /// Writes a file, whole or not at all, through a temporary file beside it.
  int write_file(const std::string& path, std::string_view text) const;
  /// Progress and remarks, to standard error.
  void say(std::string_view text) const;
  /// Prints the diagnostics; returns the exit code of the worst one.
  int report(const Diagnostics& diagnostics) const;

 private:
  Catalog catalog_;
};

class Verb {
 public:
  virtual ~Verb() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view summary() const = 0;
  virtual void declare(Options& options) = 0;
  virtual int run(const Session& session) = 0;
};

/// All verbs in the order in which help lists them.
std::vector<std::unique_ptr<Verb>> all_verbs();

}  // namespace gambrel::cli
