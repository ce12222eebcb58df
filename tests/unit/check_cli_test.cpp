// gambrel check and measure as programs, fed from files and commands: exit codes, formats, baselines. Nothing is timed.
#include <doctest/doctest.h>

#include "base/load.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Twenty times of each kernel around these microseconds, as a measurement file of a chip.
std::string rows(double a, double b) {
  std::string text = "device,op,dtype,m,n,k,measured_us\n";
  for (int i = 0; i < 20; ++i)
    for (const auto& [m, us] : {std::pair{4096, a}, {64, b}}) text += "h100-sxm,gemm,bf16," + std::to_string(m) + ",4096,4096," + std::to_string(us * (1 + 0.0005 * (i % 5))) + "\n";
  return text;
}

struct Files {
  Scratch scratch;
  std::string db = scratch.path("b.sqlite");
  Outcome check(const std::string& csv, const std::string& more = "") const {
    return program("check --chip h100-sxm --from " + scratch.write("m.csv", csv) + " --db " + db + " " + more);
  }
};

}  // namespace

TEST_CASE("check: recorded, passed, slower; the slow kernel is named and the exit code says so") {
  const Files files;
  const Outcome first = files.check(rows(230, 20));
  CHECK_MESSAGE(first.code == 0, first.err);
  CHECK(has(first.out, "no baseline") == false);
  CHECK(has(first.out, "2 kernels: 2 recorded"));
  CHECK(has(files.check(rows(231, 20)).out, "2 kernels: 2 passed"));
  const Outcome slow = files.check(rows(253, 20));
  CHECK(slow.code == 1);
  CHECK(has(slow.out, "regressed: gemm/h100-sxm/bf16/m4096.n4096.k4096/1t: 10.0 % slower than the baseline"));
  CHECK(has(slow.out, "2 kernels: 1 regressed, 1 passed"));
  CHECK(files.check(rows(253, 20), "--update-baseline").code == 0);
  CHECK(files.check(rows(253, 20)).code == 0);
}

TEST_CASE("check: a minimum in a check file, and limits of one's own") {
  const Files files;
  // 4096^3 bf16 at 989 TFLOP/s is 139 us: 230 us are 60 %.
  const std::string minimum = files.scratch.write("check.yaml", "min_efficiency: {\"m4096\": 0.8}\nlimits: {compute: 0.2}\n");
  const Outcome below = files.check(rows(230, 20), "--min-efficiency " + minimum);
  CHECK(below.code == 1);
  CHECK_MESSAGE(has(below.out, "below the minimum of 80.0 %"), below.out);
  CHECK(has(below.out, "roofline of h100-sxm"));
  const std::string wide = files.scratch.write("wide.yaml", "limits: {compute: 0.2, memory: 0.2}\n");
  CHECK(files.check(rows(150, 20)).code == 0);
  CHECK(files.check(rows(165, 20), "--min-efficiency " + wide).code == 0);
  CHECK(files.check(rows(165, 20)).code == 1);
  const Outcome unknown = files.check(rows(150, 20), "--min-efficiency " + files.scratch.write("bad.yaml", "limits: {compuet: 0.2}\n"));
  CHECK(unknown.code == 3);
  CHECK(has(unknown.err, "did you mean 'compute'?"));
  CHECK(files.check(rows(150, 20), "--min-efficiency " + files.scratch.write("worse.yaml", "min_efficiency: {\"(\": 0.8}\n")).code == 3);
}

TEST_CASE("check: json, annotations, markdown and a page") {
  const Files files;
  files.check(rows(230, 20));
  const std::string page = files.scratch.path("p.html"), summary = files.scratch.path("s.md");
  const Outcome slow = files.check(rows(260, 20), "--format github --html " + page + " --summary " + summary);
  CHECK(slow.code == 1);
  CHECK(has(slow.out, "::error title=gambrel check%3A regressed::gemm/h100-sxm/bf16/m4096.n4096.k4096/1t: 13.0 %25 slower"));
  CHECK(has(text_of(summary), "| gemm/h100-sxm/bf16/m4096.n4096.k4096/1t | ❌ regressed | █████▒░░░░ |"));
  CHECK(has(text_of(page), "<polyline"));
  CHECK(has(text_of(page), "default-src 'none'"));
  const auto tree = parse_json(files.check(rows(230, 20), "--format json").out, "out.json");
  REQUIRE(tree);
  CHECK(tree->number_or("schema_version", 0) == 1);
  CHECK(tree->number_or("exit_code", -1) == 0);
  REQUIRE(tree->find("kernels")->items.size() == 2);
  const Node& kernel = tree->find("kernels")->items.front();
  CHECK(kernel.text_or("verdict", "") == "passed");
  CHECK(kernel.number_or("efficiency", 0) == doctest::Approx(0.6).epsilon(0.05));
  CHECK(kernel.find("history")->items.size() == 2);
  CHECK(tree->find("context")->find("compiler.flags"));
}

TEST_CASE("check: one time of each kernel is enough where a file has no more") {
  const Files files;
  const std::string fast = "device,op,dtype,m,n,k,measured_us\nh100-sxm,gemm,bf16,4096,4096,4096,230\n", slow = "device,op,dtype,m,n,k,measured_us\nh100-sxm,gemm,bf16,4096,4096,4096,260\n";
  CHECK(files.check(fast).code == 0);
  CHECK(files.check(slow).code == 1);
}

TEST_CASE("check: too few samples of a benchmark are exit 5 unless that is allowed") {
  const Files files;
  std::string json = R"({"benchmarks": [)";
  for (int i = 0; i < 20; ++i) json += std::string(i ? "," : "") + R"({"name": "a", "run_type": "iteration", "threads": 1, "real_time": 10, "cpu_time": )" + (i < 5 ? "10" : "5") + R"(, "time_unit": "us"})";
  const std::string from = "check --from " + files.scratch.write("b.json", json + "]}") + " --db " + files.db;
  const Outcome few = program(from);
  CHECK(few.code == 5);
  CHECK_MESSAGE(has(few.out, "unmeasured: a: 5 of 20 samples were undisturbed; 15 are needed"), few.out);
  CHECK(program(from + " --allow-unmeasured").code == 0);
}

TEST_CASE("check: wrong usage and files are told apart") {
  const Files files;
  CHECK(program("check --ab only-one").code == 2);
  CHECK(program("check stray words").code == 2);
  CHECK(program("check --command true --from x.json").code == 2);
  CHECK(program("check --chip h100-sxm").code == 2);
  CHECK(program("check --rounds 3").code == 2);
  CHECK(program("check --threads 0").code == 2);
  CHECK(program("check --filter '('").code == 2);
  CHECK(program("check --filter no-such-kernel").code == 2);
  CHECK(program("check --from no-such-file.json").code == 3);
  CHECK(program("check --from " + files.scratch.write("x.csv", "a,b\n1,2\n")).code == 3);
  CHECK(files.check(rows(1, 1), "--db /no/such/folder/b.sqlite").code != 0);
  CHECK(program("check --command 'exit 3' --db " + files.db).code == 4);
  const Outcome cuda = program("measure --suite cuda");
  CHECK(cuda.code == 4);
  CHECK(has(cuda.err, "cuda"));
}

TEST_CASE("measure: import into a store, and out again as a measurement file") {
  const Files files;
  const std::string out = files.scratch.path("out.csv"), in = files.scratch.write("m.csv", rows(230, 20));
  const Outcome imported = program("measure --import " + in + " --device h100-sxm --db " + files.db + " --csv " + out);
  CHECK_MESSAGE(imported.code == 0, imported.err);
  CHECK(has(text_of(out), "\nh100-sxm,gemm,bf16,4096,4096,4096,230"));
  CHECK(program("estimate-ops --op gemm --chip h100-sxm " + out).code == 0);
  CHECK(program("check --from " + in + " --chip h100-sxm --db " + files.db).code == 0);  // one store may hold both
  CHECK(program("measure --import " + in + " --db " + files.scratch.write("text.sqlite", std::string(3000, 'x'))).code == 4);
}
