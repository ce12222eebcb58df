// The verbs about measured kernels, as users run them: estimate-ops, validate, calibrate.
#include <fmt/format.h>

#include <cmath>

#include "base/csv.hpp"
#include "sim/calibration/calibration.hpp"
#include "tests/unit/calibration_support.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using test::Outcome;
using test::output_of;
using test::program;
using test::quoted;
using test::Scratch;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

CsvTable csv_of(const std::string& text) { return test::table_of(text); }

std::string cell(const CsvTable& table, std::size_t row, const char* column) {
  REQUIRE_MESSAGE(table.column(column).has_value(), std::string(column));
  return table.rows.at(row).cells[*table.column(column)];
}

double number(const CsvTable& table, std::size_t row, const char* column) { return std::stod(cell(table, row, column)); }

const char* const blackwell = R"(chip: my-blackwell
kind: gpu
family: nvidia-blackwell
cores: 148
compute:
  matrix: {kind: matrix, peak: {bf16: 2250 TFLOP/s, fp8: 4500 TFLOP/s}}
  vector: {kind: vector, peak: {fp32: 75 TFLOP/s}}
memory:
  - {level: HBM, capacity: 186 GB, bandwidth: 8 TB/s}
  - {level: L2, capacity: 126 MB, managed: cache}
sources: {default: made up for this test}
)";

/// The same machine under another word of family or kind.
std::string other(std::string_view from, std::string_view to) {
  std::string text = blackwell;
  REQUIRE(text.find(from) != text.npos);
  return text.replace(text.find(from), from.size(), to);
}

const char* const decode_columns = "batch_size,kv_tokens,num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,kv_cache_dtype";

std::string decode_csv(const std::string& cells = "8,4096,32,8,128,0,bfloat16,bfloat16") { return std::string(decode_columns) + "\n" + cells + "\n"; }

/// Runs estimate-ops on rows; it must succeed.
CsvTable estimated(const std::string& rows, const std::string& options) {
  const Scratch scratch;
  return csv_of(output_of("estimate-ops " + quoted(scratch.write("in.csv", rows)) + " " + options));
}

/// Exit code and message of rows that are refused.
Outcome refused(const std::string& rows, const std::string& options) {
  const Scratch scratch;
  const Outcome outcome = program("estimate-ops " + quoted(scratch.write("in.csv", rows)) + " " + options);
  CHECK(outcome.out.empty());
  return outcome;
}

}  // namespace

TEST_CASE("estimate-ops adds its columns to each row") {
  const CsvTable t = estimated(decode_csv(), "--op attention_decode --chip h100-sxm");
  REQUIRE(t.rows.size() == 1);
  CHECK(number(t, 0, "predicted_us") >= number(t, 0, "roofline_us"));
  CHECK(number(t, 0, "predicted_lo_us") <= number(t, 0, "predicted_us"));
  CHECK(number(t, 0, "predicted_hi_us") > number(t, 0, "predicted_us"));
  CHECK(cell(t, 0, "bound") == "HBM");
  CHECK(cell(t, 0, "provenance") == "calibrated");
  CHECK(cell(t, 0, "kv_tokens") == "4096");
}

TEST_CASE("estimate-ops reads standard input and writes standard output or a file, the same bytes") {
  const Scratch scratch;
  const std::string in = scratch.write("in.csv", decode_csv()), configs = GAMBREL_SOURCE_DIR "/configs", options = "--op attention_decode --chip h100-sxm";
  const std::string by_name = output_of("estimate-ops " + quoted(in) + " " + options);
  CHECK(program("estimate-ops - " + options, "", configs, in).out == by_name);
  CHECK(program("estimate-ops - - " + options, "", configs, in).out == by_name);
  const Outcome to_file = program("estimate-ops - " + quoted(scratch.path("out.csv")) + " " + options, "", configs, in);
  CHECK(to_file.code == 0);
  CHECK(to_file.out.empty());
  CHECK(test::text_of(scratch.path("out.csv")) == by_name);
}

TEST_CASE("rows keep their order and their other columns, quotes and commas included") {
  std::string rows = "note,device," + std::string(decode_columns) + "\n";
  for (int tokens : {4096, 16, 65536, 128}) rows += fmt::format("\"{}, \"\"quoted\"\"\",x,8,{},32,8,128,0,bf16,bf16\n", tokens, tokens);
  const CsvTable t = estimated(rows, "--op attention_decode --chip h100-sxm");
  REQUIRE(t.rows.size() == 4);
  CHECK(t.header.front() == "note");
  for (std::size_t i = 0; i < 4; ++i) CHECK(cell(t, i, "note") == cell(t, i, "kv_tokens") + ", \"quoted\"");
  CHECK(number(t, 2, "predicted_us") > number(t, 0, "predicted_us"));
}

TEST_CASE("each row's device is its chip, by name or alias; --chip wins") {
  std::string rows = "device," + std::string(decode_columns) + "\n";
  for (const char* device : {"h100_sxm", "a100_sxm", "h100-sxm", "h200-sxm"}) rows += std::string(device) + ",64,32768,32,8,128,0,bf16,bf16\n";
  const CsvTable mixed = estimated(rows, "--op attention_decode"), one = estimated(rows, "--op attention_decode --chip a100_sxm");
  CHECK(cell(mixed, 0, "predicted_us") == cell(mixed, 2, "predicted_us"));
  CHECK(number(mixed, 1, "predicted_us") > number(mixed, 0, "predicted_us"));
  CHECK(number(mixed, 3, "predicted_us") < number(mixed, 0, "predicted_us"));
  CHECK(cell(mixed, 1, "provenance") == "calibrated");
  CHECK(cell(mixed, 3, "provenance") == "transferred");
  for (std::size_t i = 0; i < 4; ++i) CHECK(cell(one, i, "predicted_us") == cell(mixed, 1, "predicted_us"));
}

TEST_CASE("a chip of our own borrows from its family, a kind nobody measured is analytic") {
  const Scratch scratch;
  const std::string gpu = scratch.write("gpu.yaml", blackwell), tpu = scratch.write("tpu.yaml", other("kind: gpu\nfamily: nvidia-blackwell", "kind: tpu\nfamily: my-tpu"));
  const std::string nobody = scratch.write("nobody.yaml", other("family: nvidia-blackwell", "family: some-startup"));
  const CsvTable borrowed = estimated(decode_csv(), "--op attention_decode --chip " + quoted(gpu)), plain = estimated(decode_csv(), "--op attention_decode --chip " + quoted(tpu));
  CHECK(cell(borrowed, 0, "provenance") == "transferred");
  CHECK(cell(plain, 0, "provenance") == "analytic");
  CHECK(number(plain, 0, "predicted_us") <= number(borrowed, 0, "predicted_us"));
  CHECK(cell(estimated(decode_csv(), "--op attention_decode --chip " + quoted(nobody)), 0, "provenance") == "transferred");  // as any GPU
  // Honestly wide: wider than where it was measured, and an analytic figure wider still.
  auto width = [](const CsvTable& t) { return number(t, 0, "predicted_hi_us") / number(t, 0, "predicted_us"); };
  CHECK(width(borrowed) > width(estimated(decode_csv(), "--op attention_decode --chip h100-sxm")));
  CHECK(width(plain) >= 2);
}

TEST_CASE("--assume asserts an efficiency") {
  const CsvTable half = estimated(decode_csv(), "--op attention_decode --chip h100-sxm --assume attention=0.5"), full = estimated(decode_csv(), "--op attention_decode --chip h100-sxm --assume attention_decode=1");
  CHECK(cell(half, 0, "provenance") == "assumed");
  CHECK(number(half, 0, "predicted_us") == doctest::Approx(2 * number(full, 0, "predicted_us")).epsilon(1e-4));
  for (const char* text : {"gemm", "gemm=", "gemm=0", "gemm=1.5", "gemm=x", "gemm=0.5x", "=0.5", "matmull=0.5"})
    CHECK_MESSAGE(refused(decode_csv(), "--op attention_decode --chip h100-sxm --assume " + quoted(text)).code == 2, std::string(text));
}

TEST_CASE("systolic rows give cycles, without a chip") {
  const std::string header = "m,n,k,array_rows,array_cols,dataflow\n";
  const CsvTable t = estimated(header + "64,64,64,32,32,os\n64,64,64,32,32,ws\n64,64,64,32,32,input_stationary\n", "--op systolic");
  CHECK(number(t, 0, "cycles") == 2 * 2 * (64 + 32 + 32 - 2) - 1);
  CHECK(number(t, 1, "cycles") == 2 * 2 * (64 + 2 * 32 + 32 - 2) - 1);
  CHECK(number(t, 2, "cycles") == number(t, 1, "cycles"));
  CHECK(has(refused("m,n,k\n1,1,1\n", "--op systolic").err, "array_rows"));
  for (const char* row : {"0,1,1,8,8,os", "1.5,1,1,8,8,os", "7x,1,1,8,8,os", "1,1,1,8,8,sideways"}) {
    const Outcome outcome = refused(header + "1,1,1,8,8,os\n" + row + "\n", "--op systolic");
    CHECK_MESSAGE(outcome.code == 3, std::string(row));
    CHECK_MESSAGE(has(outcome.err, "in.csv:3:1: error:"), outcome.err);
  }
}

TEST_CASE("a bad row is exit 3 with its line, and nothing on standard output") {
  const std::string options = "--op attention_decode --chip h100-sxm";
  const Outcome cell_error = refused(decode_csv() + "8,x,32,8,128,0,bf16,bf16\n", options);
  CHECK(cell_error.code == 3);
  CHECK(has(cell_error.err, "in.csv:3:1: error: kv_tokens 'x'"));
  const Outcome cells_error = refused(decode_csv() + "8,16\n", options);
  CHECK(cells_error.code == 3);
  CHECK(has(cells_error.err, "in.csv:3:"));
  const Outcome column_error = refused("m\n1\n", options);
  CHECK(column_error.code == 3);
  CHECK(has(column_error.err, "in.csv:1:1: error: attention_decode needs a column"));
  const Outcome device_error = refused("device," + std::string(decode_columns) + "\nh100_sxm,8,16,32,8,128,0,bf16,bf16\nh1000,8,16,32,8,128,0,bf16,bf16\n", "--op attention_decode");
  CHECK(device_error.code == 3);
  CHECK(has(device_error.err, "in.csv:3:1: error: there is no 'h1000' in chips"));
}

TEST_CASE("wrong use is exit 2, a file that is not there is none of the user's rows") {
  CHECK(refused(decode_csv(), "--chip h100-sxm").code == 2);
  CHECK(refused(decode_csv(), "--op nonsense --chip h100-sxm").code == 2);
  CHECK(refused(decode_csv(), "--op attention_decode").code == 2);
  CHECK(program("estimate-ops").code == 2);
  CHECK(program("estimate-ops /nonexistent.csv --op gemm --chip h100-sxm").code >= 3);
  CHECK(refused(decode_csv(), "--op attention_decode --chip no-such-chip").code == 3);
}

namespace {

/// Rows of prefill with measured times: a machine's that is `factor` times slower than the H100's constants say, and
/// noise of 2 %. Fit for calibrating a chip called my-chip.
std::string measured_csv(double factor) {
  std::string rows = "device,batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,kv_cache_dtype\n";
  for (const char* shape : {"32,8", "64,8", "16,16", "40,40"})
    for (int batch : {1, 2, 4, 8})
      for (int tokens = 32; tokens <= 16384; tokens *= 2) rows += fmt::format("my-chip,{},{},{},128,0,bfloat16,bfloat16\n", batch, tokens, shape);
  const CsvTable predicted = estimated(rows, "--op attention_prefill --chip h100-sxm");
  std::string text = csv_line({predicted.header.begin(), predicted.header.begin() + 9}) + ",measured_us\n";
  for (std::size_t i = 0; i < predicted.rows.size(); ++i) {
    const auto& cells = predicted.rows[i].cells;
    text += csv_line({cells.begin(), cells.begin() + 9}) + fmt::format(",{:.4f}\n", number(predicted, i, "predicted_us") * factor * (1 + 0.02 * std::sin(7.0 * static_cast<double>(i))));
  }
  return text;
}

std::string first_rows(const std::string& text, std::size_t rows) {
  std::size_t end = 0;
  for (std::size_t line = 0; line <= rows; ++line) end = text.find('\n', end) + 1;
  return text.substr(0, end);
}

/// Which of the H100's fits prefill in bf16 borrows.
std::size_t borrowed_kernel(const Node& calibration) {
  const auto& kernels = calibration.find("kernels")->items;
  for (std::size_t i = 0; i < kernels.size(); ++i)
    if (kernels[i].text_or("kernel", "") == "attention_prefill" && kernels[i].text_or("type", "") == "bf16") return i;
  return 0;
}

/// A configuration folder of one's own, with one's own chip in it.
struct Workshop {
  Scratch scratch;
  std::string configs = scratch.path("configs");

  Workshop() {
    std::filesystem::copy(GAMBREL_SOURCE_DIR "/configs", configs, std::filesystem::copy_options::recursive);
    scratch.write("configs/chips/my-chip.yaml", "base: h100-sxm\nchip: my-chip\nname: My chip\n");
  }
  Outcome run(const std::string& arguments) const { return program(arguments, "", configs); }
  std::string measurements(const std::string& text) const { return quoted(scratch.write("mine.csv", text)); }
};

}  // namespace

TEST_CASE("calibrate writes what its schema accepts, and what it wrote predicts rows that it did not see") {
  const Workshop shop;
  const std::string file = shop.measurements(measured_csv(1.25)), options = "--chip my-chip --measurements " + file;
  const Outcome before = shop.run("validate " + options + " --format csv --max-error 0.06");
  CHECK(before.code == 1);
  CHECK(has(before.err, "the mean error"));

  const Outcome calibrated = shop.run("calibrate " + options + " --folds 2");
  CHECK_MESSAGE(calibrated.code == 0, calibrated.err);
  for (const char* part : {"attention_prefill bf16", "fitted", "not seen by the fit", "2-fold", "bound by HBM"}) CHECK_MESSAGE(has(calibrated.out, part), std::string(part));
  const auto document = load_file(shop.configs + "/calibrations/my-chip.yaml");
  REQUIRE(document.has_value());
  CHECK(validate(*document, "calibration").empty());
  const auto calibration = sim::read_calibration(*document);
  REQUIRE(calibration.has_value());
  CHECK(calibration->chip == "my-chip");
  REQUIRE(calibration->fits.size() == 1);
  const sim::KernelFit& fit = calibration->fits[0];
  CHECK(fit.file == "mine.csv");
  CHECK(fit.split == "hash:0/2");
  CHECK(fit.file_hash.size() == 16);
  CHECK(fit.date.size() == 10);
  CHECK(fit.fitted.rows + fit.reported.rows == 160);
  CHECK(fit.reported.mean < 0.06);

  const Outcome after = shop.run("validate " + options + " --max-error 0.06");
  CHECK_MESSAGE(after.code == 0, after.out, after.err);
  CHECK(has(after.out, "calibrated, fitted on hash:0/2 of mine.csv"));
  const auto rows = csv_of(shop.run("validate " + options + " --format csv").out);
  std::size_t fitted = 0;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) fitted += cell(rows, i, "fitted") == "1";
  CHECK(rows.rows.size() == 160);
  CHECK(fitted == fit.fitted.rows);
}

TEST_CASE("the fitted part has nothing to judge, under whatever name the file goes") {
  const Workshop shop;
  const std::string text = measured_csv(1.1), file = shop.measurements(text);
  REQUIRE(shop.run("calibrate --chip my-chip --measurements " + file).code == 0);
  const std::string renamed = quoted(shop.scratch.write("renamed.csv", text));
  for (const std::string& name : {file, renamed}) {
    const Outcome gate = shop.run("validate --chip my-chip --measurements " + name + " --split hash:0/2 --max-error 0.5");
    CHECK(gate.code == 3);
    CHECK(has(gate.err, "the fit saw every row"));
    CHECK(shop.run("validate --chip my-chip --measurements " + name + " --split hash:1/2 --max-error 0.5").code == 0);
  }
}

TEST_CASE("the same measurements give the same calibration, and calibrating twice keeps other kinds") {
  const Workshop shop;
  const std::string file = shop.measurements(measured_csv(1.1));
  REQUIRE(shop.run("calibrate --chip my-chip --measurements " + file + " -o " + quoted(shop.scratch.path("a.yaml"))).code == 0);
  REQUIRE(shop.run("calibrate --chip my-chip --measurements " + file + " -o " + quoted(shop.scratch.path("b.yaml"))).code == 0);
  CHECK(test::text_of(shop.scratch.path("a.yaml")) == test::text_of(shop.scratch.path("b.yaml")));
  CHECK_FALSE(std::filesystem::exists(shop.configs + "/calibrations/my-chip.yaml"));
  const auto shipped = load_file(shop.configs + "/calibrations/h100-sxm.yaml");
  std::string as_h100 = measured_csv(1.0);
  for (std::size_t at; (at = as_h100.find("my-chip")) != as_h100.npos;) as_h100.replace(at, 7, "h100_sxm");
  REQUIRE(shop.run("calibrate --chip h100-sxm --measurements " + shop.measurements(as_h100)).code == 0);
  const auto again = load_file(shop.configs + "/calibrations/h100-sxm.yaml");
  REQUIRE(shipped.has_value());
  REQUIRE(again.has_value());
  CHECK(again->find("kernels")->items.size() == shipped->find("kernels")->items.size());
}

TEST_CASE("where every row is fitted, folds say what to expect of new ones") {
  const Workshop shop;
  const Outcome outcome = shop.run("calibrate --chip my-chip --split hash:0/1 --measurements " + shop.measurements(measured_csv(1.1)));
  CHECK(outcome.code == 0);
  CHECK(has(outcome.out, "  5-fold "));
  CHECK_FALSE(has(outcome.out, "not seen by the fit"));
}

TEST_CASE("of few rows none is held back: each is predicted by a fit to all the others") {
  const Workshop shop;
  const std::string first(sim::model_of(sim::KernelKind::attention_prefill).constants[0].name), second = "matrix_efficiency";
  const Outcome outcome = shop.run("calibrate --chip my-chip --only " + first + " --only " + second + " --measurements " + shop.measurements(first_rows(measured_csv(1.1), 5)));
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(has(outcome.out, "  5-fold "));
  const auto mine = load_file(shop.configs + "/calibrations/my-chip.yaml"), lender = load_file(shop.configs + "/calibrations/h100-sxm.yaml");
  REQUIRE(mine.has_value());
  REQUIRE(lender.has_value());
  const Node& kernel = mine->find("kernels")->items[0];
  CHECK(kernel.find("reported")->number_or("rows", 0) == 5);
  CHECK(kernel.find("measurements")->text_or("split", "") == "hash:0/1");
  for (const Member& constant : kernel.find("constants")->members)  // the others keep the relative's values
    if (constant.key != first && constant.key != second)
      CHECK_MESSAGE(constant.value.number == lender->find("kernels")->items[borrowed_kernel(*lender)].find("constants")->number_or(constant.key, -1), constant.key);
  CHECK(shop.run("calibrate --chip my-chip --only lunch --measurements " + quoted(shop.scratch.path("mine.csv"))).code == 2);
}

TEST_CASE("too few rows are refused, and nothing is written") {
  const Workshop shop;
  const Outcome outcome = shop.run("calibrate --chip my-chip --measurements " + shop.measurements(first_rows(measured_csv(1.1), 8)));
  CHECK(outcome.code == 3);
  CHECK(has(outcome.err, "too few to fit"));
  CHECK(has(outcome.err, "nothing was fitted, and nothing is written"));
  CHECK_FALSE(std::filesystem::exists(shop.configs + "/calibrations/my-chip.yaml"));
}

TEST_CASE("rows of another number of threads than a processor has cores are told apart") {
  const Workshop shop;
  const auto validated = [&](const std::string& chip, const std::string& threads) {
    std::string text = "dtype,threads,m,n,k,measured_us\n";
    for (const char c : threads) text += fmt::format("fp32,{},512,512,512,100\n", c == '1' ? "1" : c == '8' ? "96" : c == 'x' ? "many" : "");
    return shop.run("validate --chip " + chip + " --op gemm --format json --measurements " + shop.measurements(text));
  };
  const Outcome mixed = validated("epyc-9654", "1881 1");  // 96 cores
  CHECK_MESSAGE(mixed.code == 0, mixed.err);
  CHECK_MESSAGE(has(mixed.err, "3 rows are left out, for they ran on another number of threads than epyc-9654 has cores, 96"), mixed.err);
  const auto tree = parse_json(mixed.out, "out.json");
  REQUIRE(tree.has_value());
  CHECK(tree->find("rows")->items.size() == 3);
  const Outcome other = validated("epyc-9654", "11");
  CHECK(other.code == 3);
  CHECK_MESSAGE(has(other.err, "mine.csv:3:6: error: no row ran on 96 threads, as many as epyc-9654 has cores: this one ran on 1"), other.err);
  CHECK(has(other.err, "--threads"));
  CHECK(has(validated("epyc-9654", "8x").err, "mine.csv:3:6: error: threads 'many' is not a whole number"));
  CHECK(validated("h100-sxm", "11 ").code == 0);
  const Outcome unlike = validated("h100-sxm", "118");
  CHECK(unlike.code == 3);
  CHECK_MESSAGE(has(unlike.err, "mine.csv:4:6: error: the row ran on 96 threads, the first one (line 2) on 1"), unlike.err);
}

TEST_CASE("measurements that cannot be used are exit 3 at their line, wrong options exit 2") {
  const Workshop shop;
  const std::string header = std::string(decode_columns) + ",measured_us\n", cells = "8,4096,32,8,128,0,bf16,bf16,";
  for (const char* us : {"0", "-1", "x", "nan", "inf", "1e-300", "12 us", ""})
    for (const char* verb : {"calibrate", "validate"}) {
      const Outcome outcome = shop.run(std::string(verb) + " --chip h100-sxm --measurements " + shop.measurements(header + cells + "50\n" + cells + us + "\n"));
      CHECK_MESSAGE(outcome.code == 3, std::string(us));
      CHECK_MESSAGE(has(outcome.err, "mine.csv:3:1: error: measured_us '"), outcome.err);
    }
  const std::string file = shop.measurements(header + cells + "50\n");
  CHECK(has(shop.run("validate --chip h100-sxm --measurements " + shop.measurements(decode_csv())).err, "there is no column 'measured_us'"));
  CHECK(has(shop.run("validate --chip h100-sxm --measurements " + shop.measurements("rows,cols,measured_us\n1,1,1\n")).err, "the columns do not tell the kind of kernel"));
  CHECK(has(shop.run("validate --chip h100-sxm --measurements " + shop.measurements("device," + header + "other," + cells + "50\n")).err, "no row is of attention_decode on h100-sxm"));
  shop.measurements(header + cells + "50\n");
  for (const std::string& wrong : std::vector<std::string>{"validate --chip h100-sxm", "validate --measurements " + file, "calibrate --chip h100-sxm", "validate --chip h100-sxm --split hash:2/2 --measurements " + file,
                                   "validate --chip h100-sxm --split 1/2 --measurements " + file, "validate --chip h100-sxm --max-error 5% --measurements " + file,
                                   "validate --chip h100-sxm --max-error nan --measurements " + file, "validate --chip h100-sxm --op nonsense --measurements " + file,
                                   "calibrate --chip h100-sxm --folds few --measurements " + file, "calibrate --chip h100-sxm --split hash:0/0 --measurements " + file})
    CHECK_MESSAGE(shop.run(wrong).code == 2, wrong);
}

TEST_CASE("validate writes every format, and a parity plot") {
  const Scratch scratch;
  const std::string rows = std::string(decode_columns) + ",measured_us\n8,4096,32,8,128,0,bf16,bf16,60\n64,4096,32,8,128,0,bf16,bf16,400\n";
  const std::string command = "validate --chip h100-sxm --measurements " + quoted(scratch.write("rows.csv", rows));
  CHECK(has(output_of(command), "worst rows"));
  CHECK(output_of(command + " --format markdown").starts_with("## "));
  CHECK(csv_of(output_of(command + " --format csv")).rows.size() == 2);
  const auto json = parse_json(output_of(command + " --format json"), "out");
  REQUIRE(json.has_value());
  CHECK(json->find("groups")->find("all")->number_or("rows", 0) == 2);
  output_of(command + " --html " + quoted(scratch.path("plot.html")));
  const std::string page = test::text_of(scratch.path("plot.html"));
  CHECK(has(page, "<circle class=\"seen\""));
  CHECK(has(page, "attention_decode on h100-sxm: rows.csv"));
}

TEST_CASE("validate's parts hold every row once") {
  const Scratch scratch;
  std::string rows = std::string(decode_columns) + ",measured_us\n";
  for (int i = 1; i <= 60; ++i) rows += fmt::format("{},4096,32,8,128,0,bf16,bf16,{}\n", i, 50 + i);
  const std::string command = "validate --chip h100-sxm --format csv --measurements " + quoted(scratch.write("rows.csv", rows)) + " --split ";
  std::size_t held = 0;
  for (const char* part : {"hash:0/3", "hash:1/3", "hash:2/3"}) {
    const std::size_t here = csv_of(output_of(command + part)).rows.size();
    CHECK(here > 5);
    held += here;
  }
  CHECK(held == 60);
}
