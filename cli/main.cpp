// gambrel: parses the command line and hands over to a verb.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/version.hpp"
#include "cli/verb.hpp"

namespace gambrel::cli {
namespace {

class CliOptions final : public Options {
 public:
  explicit CliOptions(CLI::App& app) : app_(app) {}
  void positional(std::string name, std::string& target, std::string help, bool required) override { app_.add_option(std::move(name), target, std::move(help))->required(required); }
  void positionals(std::string name, std::vector<std::string>& target, std::string help) override { app_.add_option(std::move(name), target, std::move(help))->required(); }
  void option(std::string flag, std::string& target, std::string help) override { app_.add_option(std::move(flag), target, std::move(help)); }
  void option(std::string flag, std::vector<std::string>& target, std::string help) override {
    app_.add_option(std::move(flag), target, std::move(help))->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  void choice(std::string flag, std::string& target, std::vector<std::string> allowed, std::string help) override {
    app_.add_option(std::move(flag), target, std::move(help))->check(CLI::IsMember(std::move(allowed)))->capture_default_str();
  }
  void flag(std::string flag, bool& target, std::string help) override { app_.add_flag(std::move(flag), target, std::move(help)); }
  void note(const std::string& text) override { app_.footer(text); }

 private:
  CLI::App& app_;
};

int run(int argc, char** argv) {
  CLI::App app{"gambrel puts numbers on hardware/model co-design: arithmetic time against data movement."};
  app.set_version_flag("--version", fmt::format("gambrel {}", version()));
  app.require_subcommand(1);
  std::string configs;
  app.add_option("--configs", configs, "Folder with chips/, systems/, models/ and runs/ (default: the one gambrel came with)");
  const auto verbs = all_verbs();
  std::vector<std::pair<CLI::App*, Verb*>> parsers;
  for (const auto& verb : verbs) {
    CLI::App* sub = app.add_subcommand(std::string(verb->name()), std::string(verb->summary()));
    CliOptions options(*sub);
    verb->declare(options);
    parsers.emplace_back(sub, verb.get());
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? done : usage;
  }
  if (std::error_code ignored; !configs.empty() && !std::filesystem::is_directory(configs, ignored)) {
    std::fprintf(stderr, "--configs: error: there is no folder '%s'\n  hint: give one that holds chips/, systems/, models/ and runs/\n", configs.c_str());
    return bad_input;
  }
  const Session session(configs.empty() ? Catalog::standard() : Catalog(configs));
  for (const auto& [sub, verb] : parsers)
    if (sub->parsed()) return verb->run(session);
  return usage;
}

}  // namespace
}  // namespace gambrel::cli

int main(int argc, char** argv) {
  try {
    return gambrel::cli::run(argc, argv);
  } catch (const std::exception& e) {  // out of memory and the like: no input leads here
    std::fprintf(stderr, "gambrel: internal error: %s\n", e.what());
    return gambrel::cli::environment;
  }
}
