// Deterministic operands, and the operator table's figures in a row of the suite.
#include "kernels/suite/support.hpp"

#include <algorithm>
#include <stdexcept>

namespace gambrel::kernels {
namespace {

/// SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195): the 24 highest bits of the next number.
std::uint32_t draw(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<std::uint32_t>((z ^ (z >> 31)) >> 40);
}

float uniform(std::uint64_t& state) { return static_cast<float>(draw(state)) * 0x1p-23f - 1.0f; }

}  // namespace

void fill(std::span<float> values, std::uint64_t seed) {
  for (float& value : values) value = uniform(seed);
}
void fill(std::span<std::uint16_t> bf16, std::uint64_t seed) {
  for (std::uint16_t& value : bf16) value = to_bf16(uniform(seed));
}
void fill(std::span<std::int8_t> values, std::uint64_t seed) {
  for (std::int8_t& value : values) value = static_cast<std::int8_t>(static_cast<int>(draw(seed) & 127) - 64);
}
void fill(std::span<std::uint8_t> values, std::uint64_t seed) {
  for (std::uint8_t& value : values) value = static_cast<std::uint8_t>(draw(seed) & 127);
}

void set_work(KernelCase& row, const models::LoweredOp& op, Anchor arithmetic) {
  double read = 0, written = 0;
  for (int role = 0; role < models::role_count; ++role) {
    read += op.work.read_bytes[static_cast<std::size_t>(role)];
    written += op.work.written_bytes[static_cast<std::size_t>(role)];
  }
  row.flops = op.work.flops;
  row.bytes = read + written;
  row.working_set = row.bytes;
  const double ridge = (row.bytes > 16 * 1024 * 1024 ? 4 : 1.5) * (arithmetic == Anchor::fma_int8 ? 4 : arithmetic == Anchor::fma_bf16 ? 2 : 1);
  row.anchor = row.flops > ridge * row.bytes ? arithmetic : written >= read / 2 ? Anchor::copy : Anchor::read;
}

models::LoweredOp operation(models::OpKind kind, const std::vector<std::pair<models::Dim, double>>& dims,
                            const std::vector<Operand>& reads, const Operand& written) {
  models::Graph graph;
  models::Op op{.kind = kind, .math = Format::fp32};
  for (const auto& [dim, extent] : dims) op.dims[dim] = extent;
  const auto use = [&](const Operand& operand, bool write) {
    const models::TensorId id = graph.add(models::Tensor{.shape = operand.shape, .type = operand.type, .role = operand.role});
    op.uses.push_back({id, write, graph.tensor(id).elements() * operand.share});
  };
  for (const Operand& operand : reads) use(operand, false);
  use(written, true);
  graph.add(op);
  return models::lower(graph).front();
}

KernelCase named(std::string kernel, std::string type, std::string_view version, std::initializer_list<std::string_view> versions,
                 std::vector<std::pair<std::string, double>> sizes, int threads) {
  if (std::find(versions.begin(), versions.end(), version) == versions.end())
    throw std::invalid_argument(kernel + ": no such version here");
  return {.kernel = std::move(kernel), .type = std::move(type), .version = std::string(version), .sizes = std::move(sizes), .threads = threads};
}

}  // namespace gambrel::kernels
