#include "sim/kernel_models/gemm_cache.hpp"

#include <bit>
#include <cstdint>

namespace gambrel::sim {

using models::Dim;

/// A sum of products with odd numbers, which do not wait for each other, and a last mix: the low bits of round sizes are zeros.
std::size_t GemmCache::Hash::operator()(const Key& key) const {
  std::uint64_t sum = 0, factor = 0x9e3779b97f4a7c15u;
  for (const double x : key) {
    sum += std::bit_cast<std::uint64_t>(x) * factor;
    factor += 0x517cc1b727220a94u;  // even: factors stay odd
  }
  return static_cast<std::size_t>(sum ^ sum >> 32);
}

const PreparedGemm& GemmCache::prepare(const KernelCall& call) {
  const GemmPath path = gemm_path(call, chip_);
  const Key key{call.dim(Dim::m), call.dim(Dim::n), call.dim(Dim::k), path.activation, path.weight, path.depth,
                static_cast<double>(path.math), path.narrow() ? 1.0 : 0.0, call.op.work.flops, call.op.work.bytes(), path.speed};
  const auto known = prepared_.find(key);
  return known != prepared_.end() ? known->second : prepared_.try_emplace(key, call, chip_, values_).first->second;
}

}  // namespace gambrel::sim
