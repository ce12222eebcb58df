// The program's suites of published runs: what is printed, what is refused, when the gate fails.
#include <nlohmann/json.hpp>

#include "program_support.hpp"

using namespace gambrel::test;
using nlohmann::json;

TEST_CASE("cli: a suite's set has its rows, their errors and the constant beside them") {
  const json out = json::parse(output_of("validate --suite training --set korthikanti_t5 --format json"), nullptr, false);
  REQUIRE(!out.is_discarded());
  CHECK(out["suite"] == "training");
  REQUIRE(out["sets"].size() == 1);
  REQUIRE(out["sets"][0]["rows"].size() == 3);
  for (const json& row : out["sets"][0]["rows"]) {
    CHECK(row["measured_s"].get<double>() > 1);
    CHECK(row["predicted_s"].get<double>() > 0.1);
    CHECK(row["constant_s"].get<double>() > 0.1);
    CHECK(row["provenance"].is_string());
  }
  CHECK(out["all"]["rows"] == 3);
}

TEST_CASE("cli: --max-error judges a suite") {
  CHECK(program("validate --suite training --set korthikanti_t5 --max-error 10").code == 0);
  const Outcome failed = program("validate --suite training --set korthikanti_t5 --max-error 0.000001");
  CHECK(failed.code == 1);
  CHECK(failed.err.find("exceeds") != std::string::npos);
}

TEST_CASE("cli: an unknown suite or set, and a suite with measurements, are usage errors") {
  for (const char* arguments : {"validate --suite no-such", "validate --suite training --set no-such", "validate --suite training --chip h100-sxm", "validate --suite training --max-error x", "validate"}) {
    const Outcome outcome = program(arguments);
    CHECK_MESSAGE(outcome.code == 2, arguments, "\n", outcome.err);
    CHECK_MESSAGE(outcome.err.find("hint: ") != std::string::npos, arguments, "\n", outcome.err);
  }
}

TEST_CASE("cli: a suite's parity plot is a file that asks for nothing from elsewhere") {
  const Scratch scratch;
  output_of("validate --suite training --set korthikanti_t5 --html " + quoted(scratch.path("parity.html")));
  const std::string page = text_of(scratch.path("parity.html"));
  CHECK(page.find("<circle class=\"seen\"") != std::string::npos);
  CHECK(page.find("src=") == std::string::npos);
}
