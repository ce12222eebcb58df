// Calibration files: written and read back, refused where they are wrong, and borrowed from in the right order.
#include "sim/calibration/calibration.hpp"

#include "tests/unit/calibration_support.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

KernelFit fit_of(KernelKind kind, const std::string& type, double p90 = 0.1) {
  KernelFit fit{.kernel = kind, .type = type};
  for (const Constant& c : model_of(kind).constants) fit.values.push_back(c.usual);
  fit.reported = {20, p90 / 2, p90 / 3, p90, -0.01};
  return fit;
}

std::string file_of(const std::string& chip, const std::vector<KernelFit>& fits) { return to_yaml(to_node({chip, fits})); }

std::string with(const std::string& constants, const std::string& kernel = "attention_prefill") {
  return "calibration: some-chip\nkernels:\n  - kernel: " + kernel + "\n    type: bf16\n    constants: {" + constants + "}\n    reported: {rows: 3}\n";
}

std::string complaint(const std::string& text) {
  const auto read = read_calibration(test::document(text, "calibration"));
  return read ? "accepted" : test::complaints(read.error());
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

/// A configuration folder with calibrations of its own.
struct Folder {
  test::Scratch scratch;
  Catalog catalog{scratch.path("")};

  void families(const std::string& text) const { scratch.write("calibrations/families.yaml", text); }
  void calibration(const std::string& chip, const std::vector<KernelFit>& fits) const { scratch.write("calibrations/" + chip + ".yaml", file_of(chip, fits)); }
  CalibrationBook book(const std::string& id, const std::string& family, hw::ChipKind kind = hw::ChipKind::gpu) const {
    hw::Chip chip;
    chip.id = id;
    chip.family = family;
    chip.kind = kind;
    auto book = CalibrationBook::load(catalog, chip);
    REQUIRE_MESSAGE(book.has_value(), test::complaints(book ? Diagnostics{} : book.error()));
    return *book;
  }
};

constexpr auto prefill = KernelKind::attention_prefill;
constexpr auto decode = KernelKind::attention_decode;

}  // namespace

TEST_CASE("a calibration reads back as it was written") {
  KernelFit fit = fit_of(prefill, "fp8", 0.12345);
  fit.values[0] = 1.23456e-5;
  fit.fitted = {31, 0.04, 0.03, 0.09, 0.002};
  fit.regimes = {{"HBM", {12, 0.05, 0.04, 0.1, 0.01}}, {"launch", {8, 0.03, 0.02, 0.06, -0.03}}};
  fit.file = "a: #file, \"quoted\".csv", fit.file_hash = "00ff", fit.date = "2026-01-02", fit.split = "hash:0/2";
  const std::string text = file_of("my chip", {fit, fit_of(decode, "bf16")});
  const auto read = read_calibration(test::document(text, "calibration"));
  REQUIRE_MESSAGE(read.has_value(), test::complaints(read ? Diagnostics{} : read.error()));
  CHECK(read->chip == "my chip");
  REQUIRE(read->fits.size() == 2);
  const KernelFit& back = read->fits[0];
  CHECK(back.kernel == prefill);
  CHECK(back.type == "fp8");
  REQUIRE(back.values.size() == fit.values.size());
  for (std::size_t i = 0; i < fit.values.size(); ++i) CHECK(back.values[i] == doctest::Approx(fit.values[i]).epsilon(1e-5));
  CHECK(back.reported.p90 == doctest::Approx(0.12345));
  CHECK(back.reported.bias == doctest::Approx(-0.01));
  CHECK(back.fitted.rows == 31);
  REQUIRE(back.regimes.size() == 2);
  CHECK(back.regimes[1].first == "launch");
  CHECK(back.regimes[1].second.rows == 8);
  CHECK(back.file == fit.file);
  CHECK(back.file_hash == "00ff");
  CHECK(back.date == "2026-01-02");
  CHECK(back.split == "hash:0/2");
  CHECK(to_yaml(to_node(*read)) == text);  // and written again the same
}

TEST_CASE("constants at their bounds read back: rounding does not push them out") {
  for (int i = 0; i < kernel_kind_count; ++i)
    for (bool high : {false, true}) {
      KernelFit fit = fit_of(static_cast<KernelKind>(i), "bf16");
      const auto constants = model_of(fit.kernel).constants;
      for (std::size_t c = 0; c < constants.size(); ++c) fit.values[c] = high ? constants[c].high : constants[c].low;
      const std::string result = complaint(file_of("edge", {fit}));
      CHECK_MESSAGE(result == "accepted", result);
    }
}

TEST_CASE("constants that a file leaves out have their usual value") {
  const auto read = read_calibration(test::document(with("tail: 0.5"), "calibration"));
  REQUIRE(read.has_value());
  const auto constants = model_of(prefill).constants;
  for (std::size_t i = 0; i < constants.size(); ++i) CHECK(read->fits[0].values[i] == (constants[i].name == "tail" ? 0.5 : constants[i].usual));
}

TEST_CASE("what is wrong in a calibration file is said at its place") {
  CHECK(has(complaint(with("tail: 0.5, tial: 1")), "5:28: attention_prefill has no constant 'tial' | it has "));
  CHECK(has(complaint(with("tail: 77")), "5:23: constant 'tail' is 77, out of its range | from 0.01 to 1.5"));
  CHECK(has(complaint(with("tail: -1")), "out of its range"));
  CHECK(has(complaint(with("tail: 0.5", "atention")), "3:13: 'atention' is no kind of kernel"));
}

TEST_CASE("the schema refuses other keys and other kinds of values") {
  for (const std::string& text : {with("tail: high"), with("tail: 0.5") + "note: x\n", std::string("calibration: c\n"), std::string("calibration: c\nkernels: [{kernel: gemm}]\n")}) {
    const auto node = parse_yaml(text, "test.yaml");
    REQUIRE(node.has_value());
    CHECK_FALSE(validate(*node, "calibration").empty());
  }
}

TEST_CASE("a chip's own fit comes first, and its interval is the error on unseen rows") {
  const Folder f;
  f.families("families: {fam: [lender]}\nkinds: {gpu: [lender]}\n");
  f.calibration("chip", {fit_of(prefill, "bf16", 0.08)});
  f.calibration("lender", {fit_of(prefill, "bf16", 0.3)});
  const CalibrationBook book = f.book("chip", "fam");
  const auto found = book.find(prefill, "bf16");
  REQUIRE(found.fit != nullptr);
  CHECK(found.provenance == Provenance::calibrated);
  CHECK(found.error == doctest::Approx(0.08));
}

TEST_CASE("lenders are asked in the order of the family's list, for the same type first") {
  const Folder f;
  f.families("families: {fam: [near, far]}\nkinds: {gpu: [kin]}\ntransfer_error: {attention_prefill: 0.2}\n");
  f.calibration("near", {fit_of(prefill, "bf16", 0.31)});
  f.calibration("far", {fit_of(prefill, "bf16", 0.32), fit_of(prefill, "fp8", 0.33)});
  f.calibration("kin", {fit_of(prefill, "bf16", 0.34)});
  const CalibrationBook book = f.book("new", "fam");
  CHECK(book.find(prefill, "bf16").provenance == Provenance::transferred);
  CHECK(book.find(prefill, "bf16").error == doctest::Approx(0.31));
  CHECK(book.find(prefill, "fp8").error == doctest::Approx(0.33));    // the type is worth more than nearness
  CHECK(book.find(prefill, "other").error == doctest::Approx(0.31));  // no lender has it: the nearest of any type
  CHECK(f.book("new", "unheard-of").find(prefill, "bf16").error == doctest::Approx(0.34));  // the kind's lender
}

TEST_CASE("a type that the chip was not fitted for is borrowed before it is guessed from its own other type") {
  const Folder f;
  f.families("families: {fam: [chip, lender]}\nkinds: {}\n");
  f.calibration("chip", {fit_of(prefill, "bf16", 0.61)});
  f.calibration("lender", {fit_of(prefill, "fp8", 0.62), fit_of(decode, "bf16", 0.63)});
  const CalibrationBook book = f.book("chip", "fam");
  CHECK(book.find(prefill, "fp8").error == doctest::Approx(0.62));
  CHECK(book.find(prefill, "fp4").error == doctest::Approx(0.61));
  CHECK(book.find(prefill, "fp4").provenance == Provenance::transferred);  // not calibrated: another type's constants
  CHECK(book.find(decode, "fp8").error == doctest::Approx(0.63));
  CHECK(book.find(KernelKind::mla_decode, "bf16").fit == nullptr);
}

TEST_CASE("an error of a transfer is never below what transfers were seen to make") {
  const Folder f;
  f.families("families: {fam: [lender]}\nkinds: {}\ntransfer_error: {attention_prefill: 0.25}\n");
  f.calibration("lender", {fit_of(prefill, "bf16", 0.05), fit_of(decode, "bf16", 0.05)});
  const CalibrationBook book = f.book("new", "fam");
  CHECK(book.find(prefill, "bf16").error == doctest::Approx(0.25));
  CHECK(book.find(decode, "bf16").error == doctest::Approx(0.5));  // nothing is known of transfers of it
}

TEST_CASE("nobody to borrow from: analytic") {
  const Folder f;
  CHECK(f.book("new", "fam").find(prefill, "bf16").provenance == Provenance::analytic);  // no families.yaml at all
  f.families("families: {}\nkinds: {gpu: [absent]}\n");
  CHECK(f.book("new", "fam").find(prefill, "bf16").fit == nullptr);
  f.calibration("absent", {fit_of(prefill, "bf16")});
  CHECK(f.book("new", "fam").find(prefill, "bf16").fit != nullptr);
  CHECK(f.book("new", "fam", hw::ChipKind::tpu).find(prefill, "bf16").fit == nullptr);
}

TEST_CASE("a lender's broken file is an error in that file") {
  const Folder f;
  f.families("families: {fam: [lender]}\nkinds: {}\n");
  f.scratch.write("calibrations/lender.yaml", with("tail: 99"));
  hw::Chip chip;
  chip.id = "new", chip.family = "fam";
  const auto book = CalibrationBook::load(f.catalog, chip);
  REQUIRE_FALSE(book.has_value());
  CHECK(book.error().front().at.line == 5);
  REQUIRE(book.error().front().at.source != nullptr);
  CHECK(has(book.error().front().at.source->name, "lender.yaml"));
}

TEST_CASE("constants can be judged before they are written") {
  const Folder f;
  CalibrationBook book = f.book("chip", "");
  CHECK(book.find(prefill, "bf16").fit == nullptr);
  book.use({"chip", {fit_of(prefill, "bf16", 0.07)}});
  CHECK(book.find(prefill, "bf16").provenance == Provenance::calibrated);
}

TEST_CASE("every shipped calibration is its chip's, reads, and says where it is from and how good it is") {
  for (const std::string& name : test::shipped().names("calibrations")) {
    if (name == "families") continue;
    const auto node = test::shipped().load("calibrations", name);
    REQUIRE_MESSAGE(node.has_value(), name);
    CHECK_MESSAGE(validate(*node, "calibration").empty(), name);
    const auto calibration = read_calibration(*node);
    REQUIRE_MESSAGE(calibration.has_value(), test::complaints(calibration ? Diagnostics{} : calibration.error()));
    CHECK(calibration->chip == name);
    for (const KernelFit& fit : calibration->fits) {
      CHECK_MESSAGE(fit.reported.rows > 0, name, " ", to_string(fit.kernel), " ", fit.type);
      CHECK_MESSAGE(fit.reported.p90 >= fit.reported.median, name, " ", to_string(fit.kernel), " ", fit.type);
      for (const std::string* text : {&fit.file, &fit.file_hash, &fit.date, &fit.split}) CHECK_MESSAGE(!text->empty(), name, " ", to_string(fit.kernel));
    }
  }
}
