#include "cli/run_options.hpp"

#include <fmt/format.h>

#include "base/load.hpp"
#include "base/path.hpp"
#include "sim/predict.hpp"
#include "sim/sweep/read_sweep.hpp"

namespace gambrel::cli {
namespace {

Position position_of(std::string option, std::string text) {
  return {std::make_shared<const Source>(Source{std::move(option), std::move(text)}), 1, 1};
}

Diagnostic usage_error(Position at, std::string message, std::string hint) { return {std::move(at), std::move(message), std::move(hint), Fault::usage}; }

}  // namespace

Result<std::vector<sim::Setting>> parse_settings(const std::vector<std::string>& texts) {
  std::vector<sim::Setting> settings;
  for (const std::string& text : texts) {
    const Position at = position_of("--set", text);
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) return fail(usage_error(at, fmt::format("'{}' is not a setting", text), "write --set path=value, as in --set chip.memory.HBM.bandwidth=2x"));
    settings.push_back({text.substr(0, equals), text.substr(equals + 1), at});
  }
  return settings;
}

sim::Setting setting_of(std::string option, std::string path, std::string value) {
  Position at = position_of(std::move(option), value);
  return {std::move(path), std::move(value), std::move(at)};
}

Result<sim::Estimate> estimate_file(const Session& session, const std::string& file, const std::vector<sim::Setting>& settings) {
  // A sweep's file without its axes is a run: each --set of a point's command gives one of them back.
  return session.catalog().load("runs", file)
      .and_then([](Node document) { return sim::is_sweep(document) ? sim::run_of_sweep(std::move(document)) : Result<Node>(std::move(document)); })
      .and_then([&](Node document) { return sim::read_run(session.catalog(), std::move(document), settings); })
      .and_then([](const sim::Run& run) { return sim::estimate(run); });
}

void InlineRun::declare(Options& options) {
  options.option("--model", model, "Model: a name of `gambrel list models`, a YAML or a Hugging Face config.json");
  options.option("--chip", chip, "Chip: a name of `gambrel list chips` or a YAML");
  options.option("--system", system, "System: a name of `gambrel list systems` or a YAML");
  options.choice("--phase", phase, {"prefill", "decode", "generate"}, "What is done; decode if left out");
  options.option("--batch", batch, "Sequences at once, or max");
  options.option("--context", context, "decode: tokens attended to, the new one included");
  options.option("--new-tokens", new_tokens, "prefill: prompt tokens; decode: tokens a step");
  options.option("--past-tokens", past_tokens, "prefill: tokens already in the cache");
  options.option("--input", input, "generate: prompt tokens");
  options.option("--output", output, "generate: tokens generated");
}

bool InlineRun::given() const {
  for (const std::string* text : {&model, &chip, &system, &phase, &batch, &context, &new_tokens, &past_tokens, &input, &output})
    if (!text->empty()) return true;
  return false;
}

Result<Node> InlineRun::document() const {
  if (model.empty() || (chip.empty() == system.empty()))
    return fail(usage_error({}, "a run needs a file, or --model and one of --chip and --system", "gambrel estimate --model MODEL --chip CHIP --phase decode --batch 32 --context 8192"));
  Node run = Node::mapping();
  run.set("run", Node::of("command line"));
  auto place = [](Node node, std::string option, const std::string& text) {
    node.at = position_of(std::move(option), text);
    return node;
  };
  run.set("model", place(Node::of(model), "--model", model));
  run.set("system", chip.empty() ? place(Node::of(system), "--system", system) : place(Node::of(chip), "--chip", chip));
  const std::string work = phase.empty() ? "decode" : phase;
  Node workload = place(Node::mapping(), "--phase", work);
  workload.set("phase", place(Node::of(work), "--phase", work));
  run.set("workload", std::move(workload));
  for (const auto& [key, flag, text] : {std::tuple{"batch", "--batch", &batch}, {"context", "--context", &context}, {"new_tokens", "--new-tokens", &new_tokens},
                                        {"past_tokens", "--past-tokens", &past_tokens}, {"input", "--input", &input}, {"output", "--output", &output}}) {
    if (text->empty()) continue;
    if (auto set = set_path(run, fmt::format("workload.{}", key), *text, position_of(flag, *text)); !set) return fail(set.error());
  }
  return run;
}

}  // namespace gambrel::cli
