// Rows of measurement files as kernels: which columns make a name, which the fingerprint, and which neither.
#include "kernels/timing/csv_rows.hpp"

#include <doctest/doctest.h>

#include "kernels/timing/names.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

FedRows rows(const std::string& text, const RowKind& kind) {
  const auto table = parse_csv(text, "x.csv");
  REQUIRE(table);
  auto fed = read_rows(*table, [&](const CsvRow&) { return kind; });
  REQUIRE(fed);
  return std::move(*fed);
}

const RowKind gemm{"gemm", {"dtype", "m", "n", "weight_dtype"}};

}  // namespace

TEST_CASE("csv rows: a kind's own columns make the name; dates, notes and commits do not") {
  const FedRows fed = rows(
      "device,dtype,m,n,weight_dtype,date,note,commit,model,measured_us\n"
      "gpu,bf16,8,4,int4,2026-01-01,warm,123,small,10\n"
      "gpu,bf16,8,4,int4,2026-01-02,cold,124,large,12\n"
      "gpu,bf16,8,5,int4,2026-01-02,cold,124,large,13\n",
      gemm);
  REQUIRE(fed.measurements.size() == 2);
  CHECK(fed.measurements.front().name == "gemm/gpu/bf16/m8.n4.weight_dtype=int4/1t");
  CHECK(fed.measurements.front().clean.size() == 2);
  CHECK(fed.of_row == std::vector<std::size_t>{0, 0, 1});
}

TEST_CASE("csv rows: of no kind, all columns count but remarks and other times") {
  const FedRows fed = rows("op,width,layout,date,min_us,run,measured_us\nfold,8,rows,1,9,1,10\nfold,8,rows,2,8,2,12\nfold,8,columns,2,8,3,12\n", {"fold", {}});
  REQUIRE(fed.measurements.size() == 2);
  CHECK(fed.measurements.front().name == "fold/width8.layout=rows/1t");
}

TEST_CASE("csv rows: library and driver are the fingerprint's, and tell names apart only where they have to") {
  const FedRows one = rows("dtype,m,n,library,driver,measured_us\nbf16,8,4,blas 12.4,550,10\n", gemm);
  CHECK(one.measurements.front().name == "gemm/bf16/m8.n4/1t");
  CHECK(one.measurements.front().library == "blas 12.4, driver 550");
  const FedRows two = rows("dtype,m,n,library,measured_us\nbf16,8,4,blas,10\nbf16,8,4,other,10\n", gemm);
  REQUIRE(two.measurements.size() == 2);
  CHECK(two.measurements.front().name == "gemm/bf16/m8.n4/1t/blas");
  CHECK(two.measurements.back().name == "gemm/bf16/m8.n4/1t/other");
}

TEST_CASE("csv rows: a wrong time is shown where it stands") {
  const auto table = parse_csv("m,measured_us\n1024,5\n1024,-3\n", "x.csv");
  REQUIRE(table);
  const auto fed = read_rows(*table, [](const CsvRow&) { return gemm; });
  REQUIRE_FALSE(fed);
  CHECK(render(fed.error()).starts_with("x.csv:3:6: error:"));
}

TEST_CASE("names: what was meant, by the parts of the names that there are") {
  const std::vector<std::string> names{"softmax/f32/own/rows64/1t", "gemm/f32/onednn_packed/m256/1t", "gemv/int4/own/m1/1t"};
  CHECK(hint_for("sofmax", names) == "did you mean 'softmax'?");
  CHECK(hint_for("^gemm/f23/", names) == "did you mean 'gemm/f32'?");
  CHECK(hint_for("onednn_paked", names) == "did you mean 'onednn_packed'?");
  CHECK(hint_for("something-else", names) == "names begin with gemm, gemv, softmax");
  CHECK(minimum_for(names[1], {{"^gemm", 0.5}, {"m256", 0.8}, {"^softmax", 0.9}}) == 0.8);
  CHECK(minimum_for(names[2], {{"^gemm", 0.5}}) == 0);
  CHECK(check_minima({{"^gemm", 0.5}}, names));
  CHECK_FALSE(check_minima({{"(", 0.5}}, names));
  const auto typo = check_minima({{"^sofmax/", 0.5}}, names);
  REQUIRE_FALSE(typo);
  CHECK(typo.error().front().hint == "did you mean 'softmax'?");
}
