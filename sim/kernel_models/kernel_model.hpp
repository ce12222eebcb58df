// Mechanistic models of measured kernels: one call on one chip -> seconds, under a set of fitted constants.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "hw/chip.hpp"
#include "models/build.hpp"
#include "models/graph.hpp"
#include "sim/kernel_models/fit.hpp"

namespace gambrel::sim {

enum class KernelKind : std::uint8_t {
  gemm, attention_prefill, attention_decode, mla_prefill, mla_decode, moe, elementwise, softmax, layernorm, gelu,
  collective, moe_dispatch, moe_combine
};
inline constexpr int kernel_kind_count = 13;
std::string_view to_string(KernelKind kind);
std::optional<KernelKind> parse_kernel_kind(std::string_view name);

/// Chips whose kernels the same models describe: accelerators queue kernels on many cores, processors run loops over
/// caches that keep what was touched last.
enum class ModelSet : std::uint8_t { accelerator, processor };
inline constexpr int model_set_count = 2;
std::string_view to_string(ModelSet set);
std::optional<ModelSet> parse_model_set(std::string_view name);
ModelSet model_set(hw::ChipKind kind);

/// What a collective, or the exchange of tokens with their experts, sends.
struct Message {
  CollectiveKind kind = CollectiveKind::all_reduce;
  bool custom = false;           ///< an inference engine's own all-reduce, not NCCL's
  double ranks = 1, nodes = 1;   ///< all together
  double bytes = 0;              ///< of a collective, as nccl-tests count: the whole, gathered or still to be scattered
  double hidden = 0, tokens = 0, top_k = 0, experts = 0;  ///< of an exchange: tokens of one rank, experts of all
  double cores = 0;              ///< of an exchange: cores that copy; 0 = the low-latency kernels
};

/// One call of a kernel, whatever the chip.
struct KernelCall {
  KernelKind kind = KernelKind::gemm;
  models::LoweredOp op;                 ///< loops, FLOPs and bytes, from the operator table
  DataType activations = Format::bf16;  ///< x of a GEMM or FFN, q of an attention
  DataType stored = Format::bf16;       ///< W, or the KV cache
  double stored_share = 1;              ///< bytes of sparse weights over dense ones, what `op.dims` already leave out aside
  double sparse_speed = 1;              ///< rate of a unit that skips the zeros of N:M weights over its dense one
  double window = 0;                    ///< of attention, tokens; 0 = full
  double context = 0;                   ///< of attention: tokens in the cache before a window cuts them, new ones included
  models::Routing routing;              ///< of a routed FFN
  double tokens = 0, all_experts = 0, expert_ranks = 1;  ///< entering the layer, of all ranks together, ranks that share the experts
  Message message;                      ///< of a collective or an exchange
  std::string measured_as;              ///< of a row measured on a processor: format and library, "fp32/onednn_packed"
  double between = 0;                   ///< B touched from one call to the next by all that runs then; 0: by this call alone

  double dim(models::Dim d) const { return op.dims[d]; }
};

/// One level of a processor's caches.
struct CacheFigures {
  double capacity = 0;   ///< B, all instances together
  double bandwidth = 0;  ///< B/s, all cores together; 0: not stated
};

/// What the models know of a chip: datasheet figures only.
struct ChipFigures {
  double cores = 1;            ///< streaming multiprocessors, compute units, tensor cores
  double clock = 1;            ///< Hz
  double bandwidth = 1;        ///< B/s of the main memory
  double cache = 0;            ///< B of the last cache before it
  double cache_bandwidth = 1;  ///< B/s; 22.8 B a clock and core (H100, measured) where none is stated
  double vector_rate = 1;      ///< FLOP/s in fp32
  double link = 1;             ///< B/s to other chips, one direction: scale-up links together, else the host's
  std::array<double, format_count> peak{};       ///< FLOP/s of contractions, dense; the substitute's where the chip lacks the format
  std::array<Format, format_count> runs_as{};    ///< that substitute
  std::array<CacheFigures, 4> caches{};          ///< innermost first, as many as the chip has of those with a bandwidth
};
/// `cold`: with caches that hold nothing.
ChipFigures chip_figures(const hw::Chip& chip, bool cold = false);
/// What the chip's memories say, anew: after cores and clock.
void set_memory(ChipFigures& figures, const hw::Chip& chip, bool cold = false);

/// One kernel family. `type` names which constants a call uses ("bf16", "fp8", "fp8_block"; of a processor
/// "fp32/onednn_packed", where "fp32" alone means the first version listed).
struct KernelModel {
  KernelKind kind;
  std::span<const Constant> constants;
  /// Seconds; `values` in the order of `constants`.
  double (*predict)(const KernelCall& call, const ChipFigures& chip, std::span<const double> values);
  std::string_view (*type_of)(const KernelCall& call, const ChipFigures& chip);
  bool smooth = false;  ///< in its constants: fitted by fit_smooth
};

const KernelModel& model_of(KernelKind kind, ModelSet set = ModelSet::accelerator);

}  // namespace gambrel::sim
