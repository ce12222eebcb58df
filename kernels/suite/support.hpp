// Inside kernels/suite/ only: what the kernels' files share - operands, comparison with a reference, rows of the suite.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/suite/parallel.hpp"
#include "kernels/suite/suite.hpp"
#include "kernels/timing/pages.hpp"
#include "models/single_op.hpp"

namespace gambrel::kernels {

/// A call that can compare what its last run() wrote with the plain reference.
class Checked : public Call {
 public:
  /// Largest difference, relative to the largest element of the reference.
  virtual double error() const = 0;
};

/// Sets prepare and error of a row: `make` at the row's own size, `make_small` at one whose reference takes milliseconds.
template <class Make, class MakeSmall>
void set_calls(KernelCase& row, Make make, MakeSmall make_small) {
  row.prepare = [make]() -> std::unique_ptr<Call> { return make(); };
  row.error = [make_small] {
    const auto call = make_small();
    call->run();
    return call->error();
  };
}

/// Uniform in [-1, 1), the same for the same seed on every machine.
void fill(std::span<float> values, std::uint64_t seed);
void fill(std::span<std::uint16_t> bf16, std::uint64_t seed);
void fill(std::span<std::int8_t> values, std::uint64_t seed);   ///< -64 to 63
void fill(std::span<std::uint8_t> values, std::uint64_t seed);  ///< 0 to 127: two products fit into 16 bits

inline float from_bf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
/// Rounds to the nearest, ties to even; finite values only.
inline std::uint16_t to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

/// What `error` returns, from a reference and a result of the same length; infinite if any element is not finite.
template <class Result>
double relative_error(std::span<const double> reference, const Result& result) {
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double got = result(i);
    if (!std::isfinite(got)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::fabs(reference[i]));
    difference = std::max(difference, std::fabs(got - reference[i]));
  }
  return largest > 0 ? difference / largest : difference;
}

/// Work and anchor of a row from the operator table. The anchor is the side of the roofline that holds it back on usual
/// CPUs: `arithmetic`, if there are more FLOPs to a byte than a core does while a byte comes from a cache (1.5 in f32, twice
/// that in bf16, four times in int8) or, beyond 16 MiB, from DRAM (4); else reading or, if at least half as much is written, copying.
void set_work(KernelCase& row, const models::LoweredOp& op, Anchor arithmetic);

/// An operand of an operator: shape as in models::Tensor, and what it is for.
struct Operand {
  std::vector<double> shape;
  DataType type = Format::fp32;
  models::Role role = models::Role::activation;
  double share = 1;  ///< of its elements that are moved
};
/// The operator table's row for one operator with these operands.
models::LoweredOp operation(models::OpKind kind, const std::vector<std::pair<models::Dim, double>>& dims,
                            const std::vector<Operand>& reads, const Operand& written);

/// A row of the suite named so far, for a version that has to be one of `versions`. Throws std::invalid_argument.
KernelCase named(std::string kernel, std::string type, std::string_view version, std::initializer_list<std::string_view> versions,
                 std::vector<std::pair<std::string, double>> sizes, int threads);

/// Runs f(first, last) on each thread's share of 0 .. n - 1.
template <class F>
void share(int threads, std::size_t n, const F& f) {
  parallel(threads, [&](int i) {
    const auto [first, last] = piece(n, i, threads);
    if (first < last) f(first, last);
  });
}

inline Pages<float> filled(std::size_t count, std::uint64_t seed) {
  Pages<float> values = make_pages<float>(count);
  fill(std::span(values.get(), count), seed);
  return values;
}

// One file a kernel: rows at the sizes of the default suite.
using Rows = std::vector<KernelCase>;
void add_peaks(Rows& rows, int threads);
void add_gemm(Rows& rows, int threads);
void add_gemv(Rows& rows, int threads);
void add_softmax(Rows& rows, int threads);
void add_norms(Rows& rows, int threads);
void add_swiglu(Rows& rows, int threads);
void add_rotary(Rows& rows, int threads);
void add_gathers(Rows& rows, int threads);
void add_attention_prefill(Rows& rows, int threads);
void add_attention_decode(Rows& rows, int threads);
void add_expert_ffn(Rows& rows, int threads);

}  // namespace gambrel::kernels
