// gambrel check and measure as programs, fed from files and commands: exit codes, formats, baselines. Nothing is timed.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

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
  CHECK(has(text_of(page), "class=\"failed\"><title>this run"));  // the slow run is in its kernel's plot
  CHECK(has(text_of(page), "<div class=\"bar\">"));
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
  CHECK(tree->find("context")->text_or("device", "") == "h100-sxm");
  CHECK_FALSE(tree->find("context")->find("cpu"));  // this host only reads the file
  CHECK(tree->find("missing")->items.empty());
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
  CHECK_MESSAGE(has(few.out, "unmeasured: a: 5 of 20 samples were clean; 15 are needed"), few.out);
  CHECK(program(from + " --allow-unmeasured").code == 0);
}

TEST_CASE("check: what a file is keyed by: the chip and its columns, not this host or the day") {
  const Files files;
  CHECK(has(files.check(rows(230, 20)).out, "2 recorded"));
  std::string dated = "date,note," + rows(300, 20);
  for (std::size_t at = dated.find('\n'); at + 1 < dated.size(); at = dated.find('\n', at + 1)) dated.insert(at + 1, "2026-02-03,again,");
  // Another name, another day, another environment: the same kernels, and slower.
  const Outcome slow = program("check --chip h100-sxm --from " + files.scratch.write("other.csv", dated) + " --db " + files.db);
  CHECK_MESSAGE(has(slow.out, "1 regressed, 1 passed"), slow.out, slow.err);
  setenv("OPENBLAS_CORETYPE", "Zen", 1);
  CHECK(has(files.check(rows(230, 20)).out, "2 passed"));
  unsetenv("OPENBLAS_CORETYPE");
  std::string driver = rows(230, 20);
  driver.insert(driver.find('\n'), ",driver");
  for (std::size_t at = driver.find('\n'); (at = driver.find('\n', at + 1)) != driver.npos;) driver.insert(at, ",550.54"), at += 8;
  CHECK(has(files.check(driver).out, "2 recorded"));
  CHECK(has(files.check(rows(230, 20), "--context toolkit=12.4").out, "2 recorded"));
  CHECK(has(files.check(rows(230, 20), "--context toolkit=12.4").out, "2 passed"));
  CHECK(files.check(rows(230, 20), "--context toolkit").code == 2);
  CHECK(files.check(rows(230, 20), "--context a=1 --context a=2").code == 2);
}

TEST_CASE("check: a kernel that a file no longer holds is named") {
  const Files files;
  files.check(rows(230, 20));
  std::string one;
  std::istringstream lines(rows(230, 20));
  for (std::string line; std::getline(lines, line);)
    if (!has(line, ",64,4096")) one += line + "\n";
  const Outcome fewer = files.check(one);
  CHECK(fewer.code == 0);
  CHECK(has(fewer.err, "gemm/h100-sxm/bf16/m64.n4096.k4096/1t had a baseline, and is no longer there"));
  CHECK(has(fewer.out, "1 kernel: 1 passed"));
  const auto tree = parse_json(files.check(one, "--format json --update-baseline").out, "out.json");
  REQUIRE(tree);
  CHECK(tree->find("missing")->items.size() == 1);
  CHECK_FALSE(has(files.check(one).err, "no longer there"));
  const Outcome chosen = files.check(rows(230, 20), "--filter m4096");
  CHECK(has(chosen.out, "1 kernel:"));
  CHECK_FALSE(has(chosen.err, "no longer there"));
  const Outcome typo = files.check(rows(230, 20), "--filter gemn");
  CHECK(typo.code == 2);
  CHECK(has(typo.err, "did you mean 'gemm'?"));
}

namespace {

/// Twenty runs of each kernel of these microseconds; "failed" of those that are 0.
std::string benchmarks(const std::vector<std::pair<std::string, double>>& kernels, const std::string& more = "") {
  std::string json;
  for (const auto& [name, us] : kernels)
    for (int i = 0; i < 20; ++i) {
      const std::string time = std::to_string(us * (1 + 0.0005 * (i % 5)));
      json += std::string(json.empty() ? "" : ", ") + R"({"name": ")" + name + R"(", "run_type": "iteration", "time_unit": "us", "real_time": )" + time + R"(, "cpu_time": )" + time +
              (us > 0 ? "" : R"(, "error_occurred": true, "error_message": "boom")") + more + "}";
    }
  return R"({"benchmarks": [)" + json + "]}";
}

}  // namespace

TEST_CASE("check: benchmarks in a file have times only: no test, no reference, no minimum") {
  const Files files;
  const std::string work = R"(, "flops": 1e6)", db = " --db " + files.db;
  const auto check = [&](double us, const std::string& more = "") { return program("check --from " + files.scratch.write("b.json", benchmarks({{"a", us}}, work)) + db + " " + more); };
  CHECK(check(100).code == 0);
  const auto tree = parse_json(check(100, "--format json").out, "out.json");
  REQUIRE(tree);
  const Node& same = tree->find("kernels")->items.front();
  CHECK(same.number_or("slowdown", 1) == doctest::Approx(0));  // the same file: nothing else was timed
  CHECK(same.find("p_value")->is_null());
  CHECK(check(104).code == 1);
  const Outcome minimum = check(100, "--min-efficiency " + files.scratch.write("m.yaml", "min_efficiency: {\"a\": 0.8}\n"));
  CHECK(minimum.code == 2);
  CHECK(has(minimum.err, "holds times only"));
}

TEST_CASE("check: a benchmark that failed is exit 5, whatever the others did") {
  const Files files;
  const std::string from = "check --db " + files.db + " --from ";
  CHECK(program(from + files.scratch.write("b.json", benchmarks({{"a", 100}, {"b", 100}}))).code == 0);
  const Outcome failed = program(from + files.scratch.write("b.json", benchmarks({{"a", 100}, {"b", 0}})));
  CHECK(failed.code == 5);
  CHECK_MESSAGE(has(failed.out, "unmeasured: b: the benchmark failed: boom"), failed.out);
  CHECK(program(from + files.scratch.write("empty.json", "")).code == 3);
}

TEST_CASE("check: two commands by turns are one kernel; what one side lacks is not green") {
  const Files files;
  const auto script = [&](const std::string& name, int steps) {
    const std::string path = files.scratch.write(name, "#!/bin/sh\ni=0; while [ $i -lt " + std::to_string(steps) + " ]; do i=$((i+1)); done\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  };
  // Three times the work; a script without a space in its path is a command too. Exit 5: too noisy here to tell.
  const Outcome slow = program("check --ab " + script("old.sh", 1000) + " " + script("new.sh", 40000));
  CHECK_MESSAGE((slow.code == 1 || slow.code == 5), slow.out, slow.err);
  CHECK(has(slow.out, "1 kernel: 1 "));
  CHECK(has(slow.err, "by turns: 16 of 16"));
  const std::string both = files.scratch.write("both.json", benchmarks({{"a", 100}, {"b", 100}})), one = files.scratch.write("one.json", benchmarks({{"a", 100}}));
  const Outcome gone = program("check --ab 'cat " + both + "' 'cat " + one + "'");
  CHECK(gone.code == 5);
  CHECK_MESSAGE(has(gone.out, "unmeasured: b: only in the old build"), gone.out);
}

TEST_CASE("check: SIGINT and SIGTERM end the workers and take temporary files away") {
  const Files files;
  std::filesystem::create_directory(files.scratch.path("tmp"));
  for (const auto& [signal, code] : {std::pair{"INT", 130}, {"TERM", 143}}) {
    const std::string mark = files.scratch.path(std::string("mark-") + signal), started = mark + ".started";
    const std::string line = "touch " + started + "; sleep 2; touch " + mark;
    const std::string shell = "(while [ ! -e " + started + " ]; do sleep 0.02; done; kill -" + signal + " $$) & export TMPDIR=" + files.scratch.path("tmp") + " GAMBREL_CONFIGS=" GAMBREL_SOURCE_DIR
                              "/configs; exec " GAMBREL_PROGRAM " check --command " + quoted(line) + " --db " + files.db + " 2>" + files.scratch.path("err");
    const int status = std::system(("sh -c " + quoted(shell)).c_str());
    CHECK(WEXITSTATUS(status) == code);
    CHECK(has(text_of(files.scratch.path("err")), "interrupted"));
    CHECK_FALSE(std::filesystem::exists(mark));
    CHECK(std::filesystem::is_empty(files.scratch.path("tmp")));
  }
}

TEST_CASE("check: time limits, and a folder for temporary files that is none") {
  const Files files;
  const Outcome late = program("check --command 'sleep 60' --timeout 0.1 --db " + files.db);
  CHECK(late.code == 4);
  CHECK(has(late.err, "'sleep 60' did not end within 0.1 s"));
  CHECK(program("check --command true --timeout 0 --db " + files.db).code == 2);
  const std::string out = files.scratch.path("out");
  for (const std::string& more : {std::string(" --self-test --runs 1"), " --filter ^fma/f32 --db " + files.db})
    CHECK(WEXITSTATUS(std::system(("TMPDIR=/proc " GAMBREL_PROGRAM " check" + more + " 2>" + out + " >&2").c_str())) == 4);
  CHECK(has(text_of(out), "cannot write into '/proc'"));
}

TEST_CASE("check: options without an effect are refused") {
  const Files files;
  const std::string from = "check --chip h100-sxm --from " + files.scratch.write("m.csv", rows(230, 20));
  for (const char* option : {"--runs 5", "--suite opencl", "--threads 2", "--rounds 50", "--timeout 5", "--db \"\""}) CHECK_MESSAGE(program(from + " " + option).code == 2, option);
  CHECK(program("check --ab a b --db " + files.db).code == 2);
  CHECK(program("check --ab a b --update-baseline").code == 2);
  CHECK(program("check --self-test --html x.html").code == 2);
  CHECK(program("check --runs 5").code == 2);
  CHECK(has(program("check --runs 5").err, "--runs means nothing with the suite"));
  const std::string help = program("check --help").out;
  CHECK(has(help, "Exit codes:"));
  CHECK(has(help, "5 a kernel was not measurable"));
}

TEST_CASE("check: typos in names and minima of the suite") {
  const Files files;
  const Outcome filter = program("check --filter '^sofmax/'");
  CHECK(filter.code == 2);
  CHECK_MESSAGE(has(filter.err, "did you mean 'softmax'?"), filter.err);
  const Outcome minimum = program("check --filter '^softmax' --db " + files.db + " --min-efficiency " + files.scratch.write("m.yaml", "min_efficiency: {\"^sofmax\": 0.1}\n"));
  CHECK(minimum.code == 2);
  CHECK(has(minimum.err, "the minimum for '^sofmax' fits no kernel"));
  CHECK_FALSE(std::filesystem::exists(files.db));  // told before anything is measured
}

TEST_CASE("check: a minimum behind a filter is fine, one that fits no name of a command or file is not") {
  const Files files;
  const std::string benchmarks = files.scratch.write("b.json", R"({"benchmarks": [{"name": "a", "run_type": "iteration", "real_time": 1.0, "cpu_time": 1.0, "time_unit": "ms"}, )"
                                                              R"({"name": "b", "run_type": "iteration", "real_time": 1.0, "cpu_time": 1.0, "time_unit": "ms"}]})");
  const std::string hidden = files.scratch.write("hidden.yaml", "min_efficiency: {\"/m64[.]\": 0.99}\n"), wrong = files.scratch.write("wrong.yaml", "min_efficiency: {\"^c$\": 0.000001}\n");
  const std::string command = "'cat " + benchmarks + "'", no_kernel = "the minimum for '^c$' fits no kernel";
  for (const std::string& source : {"--command " + command + " --db " + files.db, "--ab " + command + " " + command}) {
    const Outcome refused = program("check " + source + " --filter a --min-efficiency " + wrong);
    CHECK_MESSAGE(refused.code == 2, source);
    CHECK_MESSAGE(has(refused.err, no_kernel), refused.err);
  }
  CHECK(files.check(rows(230, 20), "--filter m4096 --min-efficiency " + hidden).code == 0);
  const Outcome fed = files.check(rows(230, 20), "--filter m4096 --min-efficiency " + wrong);
  CHECK(fed.code == 2);
  CHECK_MESSAGE(has(fed.err, no_kernel), fed.err);
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
  const Outcome nowhere = program("measure --filter '^fma/f32' --device h100-sxm");
  CHECK(nowhere.code == 2);
  CHECK(has(nowhere.err, "--device means nothing without --csv, --format csv or --import"));
  const Outcome cuda = program("measure --suite cuda");
  CHECK(cuda.code == 4);
  CHECK(has(cuda.err, "cuda"));
}

TEST_CASE("a suite's CSV is read back kind by kind; rows that no kind reads are counted, in other files they are errors") {
  const Files files;
  std::string text = "device,op,dtype,kib,m,n,k,rows,cols,measured_us,version\n";
  for (int i = 0; i < 12; ++i) {
    text += "h100-sxm,gemm,bf16,," + std::to_string(512 + 64 * i) + ",4096,4096,,," + std::to_string(40 + 5 * i) + ",cublas\n";
    text += "h100-sxm,softmax,fp16,,,,," + std::to_string(1024 + 256 * i) + ",4096," + std::to_string(20 + 4 * i) + ",own\n";
  }
  text += "h100-sxm,fma,fp32,,,,,,,1000,own\nh100-sxm,stream_copy,fp32,98304,,,,,,50,own\n";
  const std::string csv = files.scratch.write("suite.csv", text), skipped = "2 rows are skipped, for no kind of kernel reads them: fma (1), stream_copy (1)";
  const Outcome judged = program("validate --chip h100-sxm --measurements " + csv);
  CHECK_MESSAGE(judged.code == 0, judged.err);
  CHECK_MESSAGE(has(judged.err, skipped), judged.err);
  CHECK(has(judged.out, "2 kinds of kernel on h100-sxm"));
  CHECK(has(judged.out, "softmax"));
  const Outcome one = program("validate --chip h100-sxm --op softmax --measurements " + csv);
  CHECK_MESSAGE(one.code == 0, one.err);
  CHECK(has(one.out, "softmax on h100-sxm"));
  const Outcome fitted = program("calibrate --chip h100-sxm --measurements " + csv + " --output " + files.scratch.path("c.yaml"));
  CHECK_MESSAGE(fitted.code == 0, fitted.err);
  for (const char* said : {"12 rows of gemm", "12 rows of softmax", skipped.c_str()}) CHECK_MESSAGE(has(fitted.err, said), fitted.err);
  // Of one kind each row counts: a cell that is no size is an error at its line.
  const std::string strict = files.scratch.write("strict.csv", "device,op,dtype,m,n,k,measured_us\nh100-sxm,gemm,bf16,,4096,4096,3\n");
  const Outcome refused = program("validate --chip h100-sxm --measurements " + strict);
  CHECK(refused.code == 3);
  CHECK(has(refused.err, "strict.csv:2:1"));
}

TEST_CASE("measure: import into a store, and out again as a measurement file") {
  const Files files;
  const std::string out = files.scratch.path("out.csv"), in = files.scratch.write("m.csv", rows(230, 20));
  const Outcome imported = program("measure --import " + in + " --device h100-sxm --db " + files.db + " --csv " + out);
  CHECK_MESSAGE(imported.code == 0, imported.err);
  CHECK(has(text_of(out), "\nh100-sxm,gemm,bf16,4096,4096,4096,230"));
  CHECK(program("estimate-ops --op gemm --chip h100-sxm " + out).code == 0);
  CHECK(program("check --from " + in + " --chip h100-sxm --db " + files.db).code == 0);  // one store may hold both
  const Outcome named = program("measure --import " + files.scratch.write("gemm.csv", "m,n,k,measured_us\n8,16,32,5\n") + " --device h100-sxm");
  CHECK_MESSAGE(has(named.out, "gemm/h100-sxm/m8.n16.k32/1t"), named.out);
  const Outcome whose = program("measure --import " + in + " --csv " + out);
  CHECK(whose.code == 2);
  CHECK(has(whose.err, "--import with --csv or --format csv needs --device"));
  CHECK(program("measure --import " + in + " --format csv").code == 2);
  CHECK(program("measure --import " + in + " --db " + files.scratch.write("text.sqlite", std::string(3000, 'x'))).code == 4);
}
