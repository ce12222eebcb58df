#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/program_support.hpp"

using namespace gambrel::test;
using nlohmann::json;

namespace {

const std::string tiny = "{model: tiny-mixtral, system: h100-sxm, workload: {phase: decode, batch: 2, context: 32}}\n";

}  // namespace

TEST_CASE("cli: compare varies a run, in every format") {
  const std::string command = "compare llama-3.1-8b-decode-h100 --vary precision=bf16,fp8,int4_wo --vary sparsity=none,2:4 --no-error";
  CHECK(output_of(command).find("fp8, 2:4") != std::string::npos);
  CHECK(output_of(command + " --format markdown").find("| bf16, none |") != std::string::npos);
  CHECK(output_of(command + " --format csv").starts_with("variant,time_s,"));
  const json c = json::parse(output_of(command + " --format json"));
  CHECK(c["variants"].size() == 6);
  CHECK(c["variants"][0]["speedup"] == 1);
  CHECK(c["variants"][2]["speedup"].get<double>() > 1.1);
}

TEST_CASE("cli: compare reads a comparison, executes it, and writes a page") {
  const Scratch folder;
  const std::string file = folder.write("mine.yaml", "baseline: " + tiny + "variants: {fp8: {precision: fp8}, w4: {precision: int4_wo}}\nerror: {layers: 1, width_fraction: 0.5, tokens: 4, vocabulary_rows: 64}\n");
  const std::string page = folder.path("page.html");
  const json c = json::parse(output_of("compare " + quoted(file) + " --format json --html " + quoted(page)));
  CHECK(c["variants"][1]["error"]["relative_error"].get<double>() > 0);
  CHECK(c["error_method"]["layers"] == 1);
  CHECK(text_of(page).find("Error against speed") != std::string::npos);
  // The same input, the same bytes.
  CHECK(output_of("compare " + quoted(file) + " --format json") == output_of("compare " + quoted(file) + " --format json"));
}

TEST_CASE("cli: the shipped comparison has twelve variants, and show gives it back") {
  CHECK(json::parse(output_of("compare compare-llama-precision --no-error --format json"))["variants"].size() == 12);
  CHECK(output_of("show compare-llama-precision --kind run").find("name_baseline: bf16") != std::string::npos);
  CHECK(output_of("schema comparison").find("gambrel comparison") != std::string::npos);
}

TEST_CASE("cli: what compare cannot do, it says, with the exit code of whose fault it is") {
  struct Case {
    std::string arguments;
    int code;
    std::string says;
  };
  const Scratch folder;
  const std::string file = quoted(folder.write("mine.yaml", "baseline: " + tiny + "variants: {fp8: {precision: fp9}}\n"));
  const std::string good = quoted(folder.write("good.yaml", "baseline: " + tiny + "variants: {fp8: {precision: fp8}}\n"));
  for (const Case& c : {Case{"compare llama-3.1-8b-decode-h100", 2, "nothing to compare"}, {"compare llama-3.1-8b-decode-h100 --vary precision", 2, "'precision' varies nothing"},
                        {"compare llama-3.1-8b-decode-h100 --vary precision=bf16,fp9", 3, "did you mean 'fp8'"}, {"compare " + file, 3, "mine.yaml:2:"},
                        {"compare " + good + " --vary precision=bf16", 2, "--vary is for a run"}, {"compare " + good + " --layers 0", 2, "--layers '0' is not a number above 0"},
                        {"compare " + good + " --width-fraction two", 2, "--width-fraction 'two'"}, {"compare " + good + " --search-budget 0.1 --no-error", 2, "leave out --no-error"},
                        {"compare " + good + " --weights nowhere.safetensors", 3, "nowhere.safetensors"}, {"compare nowhere", 3, "nowhere"}, {"estimate compare-llama-precision", 3, "this is a comparison of runs"}}) {
    const Outcome outcome = program(c.arguments);
    CHECK_MESSAGE(outcome.code == c.code, c.arguments, "\n", outcome.err);
    CHECK_MESSAGE(outcome.err.find(c.says) != std::string::npos, c.arguments, "\n", outcome.err);
    CHECK(outcome.out.empty());
  }
}
