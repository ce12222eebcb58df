// The program on plans: --plan, --chips and --trace, what is printed and what is refused.
#include <nlohmann/json.hpp>
#include <set>

#include "program_support.hpp"

using namespace gambrel::test;
using nlohmann::json;

namespace {

const std::string node = "estimate --model llama-3.2-1b --system dgx-h100 --phase decode --batch 8 --context 256 ";

json json_of(const std::string& arguments) {
  const json parsed = json::parse(output_of(arguments + " --format json"), nullptr, false);
  CHECK_MESSAGE(!parsed.is_discarded(), arguments);
  return parsed;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Refused as bad input: exit code 3, the place first, a hint, nothing on standard output.
void refuse(const std::string& arguments, const std::string& start, const std::string& message) {
  const Outcome o = program(arguments);
  CHECK_MESSAGE(o.code == 3, arguments, "\n", o.err);
  CHECK_MESSAGE(o.out.empty(), arguments);
  CHECK_MESSAGE(has(o.err.substr(0, o.err.find('\n')), start), o.err);
  CHECK_MESSAGE(has(o.err, message), o.err);
  if (!message.empty()) CHECK_MESSAGE(has(o.err, "hint: "), o.err);
}

}  // namespace

TEST_CASE("cli: --plan takes a mapping, --chips what it covers") {
  const json one = json_of(node), eight = json_of(node + "--plan '{tensor: 4, data: 2}'");
  CHECK(one["chips"] == 1);
  CHECK(eight["chips"] == 8);
  CHECK(eight["plan"] == "tensor 4, data 2");
  CHECK(eight["settings"]["set plan"] == "{tensor: 4, data: 2}");
  CHECK(json_of(node + "--plan '{tensor: 4}' --chips 8")["total"] == eight["total"]);
  CHECK(json_of(node + "--chips 8")["plan"] == "data 8");
  CHECK(json_of("estimate gpt3-175b-train-a100-64 --plan '{tensor: 8, pipeline: 8, recompute: full}'")["plan"] == "tensor 8, pipeline 8, 1f1b, full recompute");
}

TEST_CASE("cli: --plan best is the plan it names, written out") {
  const json best = json_of(node + "--plan best");
  CHECK(best["chips"] == 8);
  CHECK(best["next_plans"].size() >= 3);
  double before = best["total"]["time_s"];
  for (const json& next : best["next_plans"]) {
    CHECK(next["time_s"].get<double>() >= before * (1 - 1e-9));
    before = next["time_s"];
  }
  std::string mapping;  // "tensor 8, data 2" -> "tensor: 8, data: 2"
  for (const char c : best["plan"].get<std::string>()) mapping += c == ' ' && !mapping.empty() && mapping.back() != ',' ? std::string(": ") : std::string(1, c);
  CHECK(json_of(node + "--plan " + quoted("{" + mapping + "}"))["total"]["time_s"] == best["total"]["time_s"]);
}

TEST_CASE("cli: the timeline of every format and run with a plan") {
  for (const std::string run : {"llama-3.1-70b-decode-dgx-h100", "gpt3-175b-train-a100-64"}) {
    const json t = json_of("estimate " + run)["timeline"];
    const json total = json_of("estimate " + run)["total"];
    CHECK(t["compute_s"].get<double>() + t["exposed_network_s"].get<double>() + t["bubble_s"].get<double>() + t["overhead_s"].get<double>() == doctest::Approx(total["time_s"].get<double>()));
    for (const std::string format : {"table", "markdown"}) CHECK(has(output_of("estimate " + run + " --format " + format), "all_"));
    CHECK(has(output_of("estimate " + run), "exposed network"));
  }
}

TEST_CASE("cli: --trace writes the step as a trace, beside what is printed") {
  const Scratch folder;
  for (const std::string plan : {"'{pipeline: 4, data: 2}'", "'{tensor: 8}'", "'{data: 1}'"}) {
    const std::string file = folder.path("trace.json");
    const Outcome o = program(node + "--plan " + plan + " --format json --trace " + file);
    CHECK_MESSAGE(o.code == 0, o.err);
    CHECK(json::accept(o.out));
    const json trace = json::parse(text_of(file), nullptr, false);
    REQUIRE(trace.is_object());
    double end = 0;
    std::set<int> stages;
    for (const json& event : trace["traceEvents"]) {
      if (event["ph"] != "X") continue;
      CHECK(event["ts"].get<double>() >= 0);
      end = std::max(end, event["ts"].get<double>() + event["dur"].get<double>());
      stages.insert(event["pid"].get<int>());
    }
    CHECK(end > 0);
    CHECK(stages.size() == (plan.find("pipeline") != std::string::npos ? 4 : 1));
    if (stages.size() == 1) CHECK(end == doctest::Approx(1e6 * json::parse(o.out)["total"]["time_s"].get<double>()).epsilon(1e-3));
  }
}

TEST_CASE("cli: a trace that cannot be written is exit code 4, and nothing is printed") {
  const Scratch folder;
  const Outcome o = program(node + "--trace " + folder.path("nowhere/trace.json"));
  CHECK(o.code == 4);
  CHECK(o.out.empty());
  CHECK(folder.files() == 0);
}

TEST_CASE("cli: bad plans on the command line are refused there") {
  refuse(node + "--plan '{tensor: 3}'", "--plan", "tensor 3 does not divide 32 attention heads");
  refuse(node + "--plan '{tensor: 2, data: 2}' --chips 8", "--plan", "= 4 chips, not 8");
  refuse(node + "--chips 16", "--chips", "16 chips, but dgx-h100 has 8");
  refuse(node + "--plan best --chips 9", "", "9 chips, but dgx-h100 has 8");
  refuse(node + "--plan '{tensor: 2, place: {tensor: nvlnk}}'", "--plan", "no order of the axes");
  refuse(node + "--plan fastest", "--plan", "'fastest' is no plan");
  refuse(node + "--plan '{tensor: '", "--plan", "");
  refuse(node + "--plan '{tensro: 2}'", "--plan", "did you mean 'tensor'?");
  refuse(node + "--chips many", "--chips", "");
}

TEST_CASE("cli: bad plans of a file are refused at their line and column") {
  const Scratch folder;
  const std::string train = "model: gpt2\nsystem: a100-superpod\nworkload: {phase: train, global_batch: 64, micro_batch: 2, sequence: 128}\nplan:\n  ";
  const auto bad = [&](const std::string& plan, const std::string& at, const std::string& message) {
    refuse("estimate " + folder.write("bad.yaml", train + plan + "\n"), "bad.yaml:" + at + ": error: ", message);
  };
  bad("tensor: 5", "5:3", "tensor 5 does not divide 12 attention heads");
  bad("{tensor: 2, data: 3}\nchips: 8", "5:3", "= 6 chips, not 8");
  bad("data: 4096", "5:3", "4096 chips, but ");
  bad("tensor: 2\n  place: {tensor: nvlnk}", "6:10", "no order of the axes");
  bad("data: 3", "3:11", "global_batch 64 is no multiple");
  bad("data: 4\n  microbatches: 3", "5:3", "3 micro-batches, but global_batch 64");
  bad("zero: 4", "5:9", "FSDP");
}
