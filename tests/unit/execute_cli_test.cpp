// gambrel execute: a run small enough to be computed, its scaling said, its limits and options checked.
#include <doctest/doctest.h>

#include "base/load.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

TEST_CASE("execute: a whole run, every operator counted and timed") {
  const std::string text = output_of("execute tiny-mixtral-execute --format json");
  const auto tree = parse_json(text, "out.json");
  REQUIRE_MESSAGE(tree.has_value(), (tree ? "" : render(tree.error()) + text));
  CHECK(tree->number_or("schema_version", 0) == 1);
  CHECK(tree->number_or("layers", 0) == 4);
  const Node* total = tree->find("total");
  REQUIRE(total);
  CHECK(total->number_or("time_s", 0) > 0);
  double flops = 0;
  for (const Node& op : tree->find("ops")->items) {
    CHECK(op.number_or("executions", 0) >= 1);
    flops += op.number_or("flops", 0);
    // 4 layers of 256 tokens, 2 of 8 experts each, 3 matrices and 5 operations of the activation.
    if (op.text_or("kind", "") == "expert_ffn")
      CHECK(op.number_or("flops", 0) == 4 * 512 * (2.0 * 3 * 448 * 128 + 5 * 448));
  }
  CHECK(total->number_or("flops", 0) == doctest::Approx(flops));
}

TEST_CASE("execute: the table states what was scaled") {
  const std::string text = output_of("execute tiny-mixtral-execute --layers 1 --width-fraction 0.5");
  CHECK(text.find("1 of 4 layers, widths x 0.5") != std::string::npos);
  CHECK(text.find("GFLOP/s") != std::string::npos);
  CHECK(text.find("layers.0.moe.experts") != std::string::npos);
}

TEST_CASE("execute: a run too large for this machine says what would fit; options are checked") {
  const Outcome large = program("execute llama-3.1-405b-train-h100");
  CHECK(large.code == 3);
  CHECK(large.err.find("--layers") != std::string::npos);
  for (const char* wrong : {"--layers 0", "--layers 1.5", "--layers x", "--width-fraction 0", "--width-fraction 2",
                            "--width-fraction half"}) {
    const Outcome outcome = program(std::string("execute tiny-mixtral-execute ") + wrong);
    CHECK_MESSAGE(outcome.code == 2, wrong);
    CHECK(outcome.err.find("takes") != std::string::npos);
  }
  CHECK(program("execute no-such-run").code == 3);
}
