#include "sim/calibration/kernel_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.hpp"
#include "models/single_op.hpp"
#include "sim/kernel_models/collective_model.hpp"
#include "sim/kernel_models/cpu_caches.hpp"

namespace gambrel::sim {
namespace {

using Columns = std::vector<std::vector<std::string_view>>;

const Columns attention_columns{{"batch_size"}, {"isl", "kv_tokens"}, {"num_heads"}, {"num_key_value_heads"}, {"head_dim"},
                                {"window_size", ""}, {"attn_dtype", "dtype"}, {"kv_cache_dtype", "dtype"}, {"kv_tokens", ""}};
const Columns decode_columns{{"batch_size"}, {"kv_tokens", "isl"}, {"num_heads"}, {"num_key_value_heads"}, {"head_dim"},
                             {"window_size", ""}, {"attn_dtype", "dtype"}, {"kv_cache_dtype", "dtype"}};
const Columns mla_columns{{"mla_dtype"}, {"kv_cache_dtype"}, {"num_heads"}, {"batch_size"}, {"isl", "kv_tokens"}};
const Columns mla_decode_columns{{"mla_dtype"}, {"kv_cache_dtype"}, {"num_heads"}, {"batch_size"}, {"kv_tokens", "isl"}};
const Columns vector_columns{{"rows", "shape"}, {"cols", ""}, {"dtype", ""}, {"version", ""}};
const Columns dispatch_columns{{"node_num", ""}, {"hidden_size"}, {"num_token"}, {"num_topk"}, {"num_experts"}, {"sms", "dispatch_sms", ""}, {"op_name", "mode", ""}};
const Columns combine_columns{{"node_num", ""}, {"hidden_size"}, {"num_token"}, {"num_topk"}, {"num_experts"}, {"sms", "combine_sms", ""}, {"op_name", "mode", ""}};

/// In the enumeration's order; "" in a list: the column may be absent.
const std::vector<KindColumns>& kinds() {
  static const std::vector<KindColumns> table{
      {KernelKind::gemm, {{"dtype"}, {"m"}, {"n"}, {"k"}, {"version", ""}, {"weight_dtype", ""}, {"working_set_bytes", ""}}},
      {KernelKind::attention_prefill, attention_columns},
      {KernelKind::attention_decode, decode_columns},
      {KernelKind::mla_prefill, mla_columns},
      {KernelKind::mla_decode, mla_decode_columns},
      {KernelKind::moe, {{"dtype"}, {"num_tokens"}, {"hidden_size"}, {"inter_size"}, {"topk"}, {"num_experts"}, {"moe_tp_size", ""}, {"moe_ep_size", ""}, {"distribution", ""}}},
      {KernelKind::elementwise, {{"bytes_read"}, {"bytes_written"}, {"dtype", ""}, {"tokens", ""}, {"hidden", ""}, {"op", ""}, {"working_set_bytes", ""}}},
      {KernelKind::softmax, vector_columns},
      {KernelKind::layernorm, vector_columns},
      {KernelKind::gelu, vector_columns},
      {KernelKind::collective, {{"collective"}, {"dtype", ""}, {"num_gpus"}, {"message_bytes"}, {"library", ""}}},
      {KernelKind::moe_dispatch, dispatch_columns},
      {KernelKind::moe_combine, combine_columns}};
  return table;
}

constexpr double largest = 1e12;

/// "bf16/fp16" names two formats of one width, the first stands for both; "fp32 (as simulated)" carries a remark.
std::string_view first_of(std::string_view text) { return text.substr(0, text.find_first_of("/ ")); }

/// A number that is all of the text, and no larger than a size may be.
std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value <= largest)) return std::nullopt;
  return value;
}

/// "input_layernorm", "mlp_act", "attn_rope": what an elementwise operator does, as far as its name tells.
models::OpKind elementwise_kind(std::string_view name) {
  using models::OpKind;
  for (const auto& row : models::op_table())
    if (row.name == name) return row.kind;
  constexpr std::pair<std::string_view, OpKind> parts[]{{"norm", OpKind::rms_norm}, {"rope", OpKind::rotary}, {"rotary", OpKind::rotary},
                                                        {"emb", OpKind::embedding}, {"act", OpKind::activation}};
  const auto found = std::ranges::find_if(parts, [&](const auto& part) { return name.find(part.first) != name.npos; });
  return found == std::end(parts) ? OpKind::elementwise : found->second;
}

}  // namespace

/// One row being read: collects the first error, so that the readers below stay formulas.
struct CallReader {
  const RowReader& reader;
  const CsvRow& row;
  Diagnostics errors;

  double number(std::size_t slot, double otherwise = 0) {
    auto value = reader.number(row, slot, otherwise);
    if (value) return *value;
    errors.push_back(value.error());
    return 1;
  }
  DataType type(std::size_t slot, bool* weight_only = nullptr) {
    auto value = reader.type(row, slot, weight_only);
    if (value) return *value;
    errors.push_back(value.error());
    return Format::bf16;
  }
  std::string_view text(std::size_t slot) const {
    const int column = reader.slots_[slot];
    return column < 0 ? std::string_view{} : std::string_view(row.cells[static_cast<std::size_t>(column)]);
  }
  void refuse(std::string message, std::string hint) { errors.push_back({reader.table_->at(row), std::move(message), std::move(hint)}); }

  KernelCall gemm();
  KernelCall attention(bool decode);
  KernelCall mla(bool decode);
  KernelCall moe();
  KernelCall elementwise();
  KernelCall vector(models::OpKind kind, double terms);
  models::Routing routing(std::string_view name);
  CollectiveKind collective_kind(std::string_view name);
  KernelCall collective();
  KernelCall exchange(models::OpKind kind);
};

KernelCall CallReader::gemm() {
  bool weight_only = false;
  KernelCall call;
  call.stored = type(0, &weight_only);
  call.activations = weight_only ? DataType(Format::bf16) : call.stored;
  const DataType out = call.activations.element_bits() < 16 ? DataType(Format::bf16) : call.activations;
  if (reader.slots_[5] >= 0) call.stored = type(5);
  if (const std::string_view version = text(4); !version.empty())
    call.measured_as = fmt::format("{}/{}", operand_name(call.activations, call.stored), version);
  call.between = number(6);
  call.op = models::single_gemm(number(1), number(2), number(3), call.activations, call.stored, out);
  return call;
}

KernelCall CallReader::attention(bool decode) {
  KernelCall call;
  const double tokens = number(1);
  call.activations = type(6);
  call.stored = type(7);
  call.window = number(5);
  const double keys = decode ? tokens : std::max(tokens, number(8));  // a prompt's part may follow others, whose keys are there
  call.context = keys;
  models::AttentionShape shape{.batch = number(0), .queries = decode ? 1 : tokens, .past = decode ? tokens - 1 : keys - tokens, .heads = number(2), .kv_heads = number(3),
                               .qk_width = number(4), .v_width = number(4), .window = call.window};
  if (errors.empty() && (shape.kv_heads < 1 || std::fmod(shape.heads, shape.kv_heads) != 0))
    refuse(fmt::format("num_key_value_heads {} does not divide num_heads {}", shape.kv_heads, shape.heads), "each key/value head serves num_heads / num_key_value_heads query heads");
  call.op = models::single_attention(shape, call.activations, call.stored);
  return call;
}

// DeepSeek's widths (shared/README: kv_lora_rank 512, rope 64, nope 128, v 128); decode is the absorbed form.
KernelCall CallReader::mla(bool decode) {
  KernelCall call;
  const double tokens = number(4), heads = number(2);
  call.activations = type(0);
  call.stored = type(1);
  call.context = tokens;
  models::AttentionShape shape{.batch = number(3), .queries = decode ? 1 : tokens, .past = decode ? tokens - 1 : 0, .heads = heads};
  if (decode) shape.kv_heads = 1, shape.qk_width = 576, shape.v_width = 512, shape.latent = true;
  else shape.kv_heads = heads, shape.qk_width = 192, shape.v_width = 128;
  call.op = models::single_attention(shape, call.activations, call.stored);
  return call;
}

models::Routing CallReader::routing(std::string_view name) {
  using Kind = models::Routing::Kind;
  if (name.empty() || name == "balanced") return {Kind::balanced};
  if (name == "uniform") return {Kind::uniform};
  constexpr std::string_view power = "power_law_";
  if (name.starts_with(power))
    if (const auto alpha = number_of(name.substr(power.size())); alpha && *alpha >= 0) return {Kind::power_law, *alpha};
  refuse(fmt::format("'{}' is no distribution", excerpt(name)), "balanced, uniform or power_law_ALPHA");
  return {};
}

KernelCall CallReader::moe() {
  bool weight_only = false;
  KernelCall call;
  call.stored = type(0, &weight_only);
  call.activations = weight_only ? DataType(Format::bf16) : call.stored;
  call.tokens = number(1);
  call.all_experts = number(5);
  call.expert_ranks = number(7, 1);
  call.routing = routing(text(8));
  const double top_k = number(4), local = call.all_experts / call.expert_ranks;
  if (errors.empty() && top_k > call.all_experts) refuse(fmt::format("topk {} is more than num_experts {}", top_k, call.all_experts), "at most num_experts");
  const double hit = errors.empty() ? models::experts_hit(call.all_experts, top_k, call.tokens, call.routing) / call.expert_ranks : 1;
  call.op = models::single_expert_ffn({.routed = call.tokens * top_k / call.expert_ranks, .hidden = number(2), .inner = number(3) / number(6, 1),
                                       .experts = local, .hit = hit, .top_k = top_k}, call.activations, call.stored);
  return call;
}

KernelCall CallReader::elementwise() {
  KernelCall call;
  call.activations = call.stored = type(2);
  call.op = models::single_elementwise(number(0), number(1), call.activations);
  if (reader.slots_[3] < 0) return call;  // without the number of rows, bytes are all that is known
  const double rows = number(3, 1);
  call.op.kind = elementwise_kind(text(5));
  call.op.dims[models::Dim::m] = rows;
  call.op.dims[models::Dim::n] /= rows;
  call.between = number(6);
  if (call.op.kind == models::OpKind::embedding)  // rows of a table that more than this call looks into
    std::swap(call.op.work.read_bytes[static_cast<std::size_t>(models::Role::weight)], call.op.work.read_bytes[static_cast<std::size_t>(models::Role::activation)]);
  return call;
}

KernelCall CallReader::vector(models::OpKind kind, double terms) {
  KernelCall call;
  double rows = 0, columns = 0;
  const std::string_view shape = text(0);
  if (const auto cross = shape.find('x'); cross != std::string_view::npos) {
    rows = number_of(shape.substr(0, cross)).value_or(0);
    columns = number_of(shape.substr(cross + 1)).value_or(0);
    if (rows < 1 || columns < 1) refuse(fmt::format("'{}' is no shape", excerpt(shape)), "rows x columns, as in 4096x1024");
  } else if (reader.slots_[1] < 0) {
    refuse(fmt::format("'{}' is no shape", excerpt(shape)), "rows x columns, as in 4096x1024, or two columns rows and cols");
  } else {
    rows = number(0);
    columns = number(1, 1);
  }
  call.activations = call.stored = type(2);
  call.op = models::single_vector(kind, rows, columns, terms, call.activations);
  if (const std::string_view version = text(3); !version.empty()) call.measured_as = fmt::format("{}/{}", models::to_string(kind), version);
  return call;
}

CollectiveKind CallReader::collective_kind(std::string_view name) {
  using enum CollectiveKind;
  for (CollectiveKind kind : {all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point})
    if (name == to_string(kind)) return kind;
  static constexpr std::pair<std::string_view, CollectiveKind> aliases[] = {{"allreduce", all_reduce}, {"allgather", all_gather}, {"reducescatter", reduce_scatter},
                                                                            {"alltoall", all_to_all}, {"send_recv", point_to_point}, {"sendrecv", point_to_point}};
  for (const auto& [alias, kind] : aliases)
    if (name == alias) return kind;
  refuse(fmt::format("'{}' is no collective", excerpt(name)), "all_reduce, all_gather, reduce_scatter, all_to_all, broadcast or point_to_point");
  return all_reduce;
}

KernelCall CallReader::collective() {
  KernelCall call;
  call.op.kind = models::OpKind::collective;
  call.activations = call.stored = type(1);
  call.message = {.kind = collective_kind(text(0)), .custom = text(4).starts_with("custom"), .ranks = number(2), .bytes = number(3)};
  return call;
}

/// Cores that DeepEP's normal kernels copy with where a row does not say (its Buffer.num_sms).
constexpr double usual_copy_cores = 20;

KernelCall CallReader::exchange(models::OpKind kind) {
  KernelCall call;
  call.op.kind = kind;
  Message& m = call.message;
  m.nodes = number(0, 1);
  m.hidden = number(1);
  m.tokens = number(2);
  m.top_k = number(3);
  m.experts = number(4);
  m.cores = number(5);
  m.ranks = m.nodes * full_node;
  if (m.cores == 0 && text(6) == "normal") m.cores = usual_copy_cores;
  if (text(6) == "ll" || text(6) == "low_latency") m.cores = 0;
  if (errors.empty() && (m.top_k > m.experts || m.top_k > 1024)) refuse(fmt::format("num_topk is {}", m.top_k), "at most num_experts, and at most 1024");
  if (errors.empty() && m.experts < m.ranks) refuse(fmt::format("{} experts for {} ranks", m.experts, m.ranks), "num_experts is at least 8 x node_num");
  return call;
}

tl::expected<double, Diagnostic> RowReader::number(const CsvRow& row, std::size_t slot, double otherwise) const {
  if (slots_[slot] < 0) return otherwise;
  const auto column = static_cast<std::size_t>(slots_[slot]);
  const std::string& cell = row.cells[column];
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  const auto& names = columns_of(kind_).columns[slot];
  const bool optional = names.back().empty(), bytes = names.front().starts_with("bytes_");
  const double least = bytes || (optional && otherwise == 0) ? 0 : 1;  // a window may be 0, and an operator may only write
  if (error == std::errc{} && end == cell.data() + cell.size() && value >= least && value <= largest) return value;
  return tl::unexpected(Diagnostic{table_->at(row), fmt::format("{} '{}' is not a number from {} to {:g}", table_->header[column], excerpt(cell), least, largest), "sizes are positive numbers"});
}

tl::expected<DataType, Diagnostic> RowReader::type(const CsvRow& row, std::size_t slot, bool* weight_only) const {
  if (slots_[slot] < 0) return DataType(Format::fp16);
  const auto column = static_cast<std::size_t>(slots_[slot]);
  std::string_view name = first_of(row.cells[column]);
  if (name == "w4a16_mxfp4" && weight_only) name = "mxfp4", *weight_only = true;
  const auto named = parse_data_type(name.empty() ? "fp16" : name);
  if (!named) return tl::unexpected(Diagnostic{table_->at(row), fmt::format("{}: {}", table_->header[column], named.error()), "`gambrel list formats` names them"});
  if (weight_only && named->weight_only) *weight_only = true;
  return named->type;
}

const KindColumns& columns_of(KernelKind kind) { return kinds()[static_cast<std::size_t>(kind)]; }

Result<RowReader> RowReader::make(const CsvTable& table, KernelKind kind) {
  RowReader reader(table, kind);
  for (const auto& names : columns_of(kind).columns) {
    int slot = -1;
    for (std::string_view name : names)
      if (const auto column = table.column(name); column && slot < 0) slot = static_cast<int>(*column);
    if (slot < 0 && !names.back().empty())
      return fail({{table.source, 1, 1}, fmt::format("{} needs a column '{}'", to_string(kind), fmt::join(names, "' or '")), fmt::format("the file has {}", fmt::join(table.header, ", "))});
    reader.slots_.push_back(slot);
  }
  return reader;
}

Result<KernelCall> RowReader::read(const CsvRow& row) const {
  CallReader reader{*this, row, {}};
  auto call_of = [&]() -> KernelCall {
    switch (kind_) {
      case KernelKind::gemm: return reader.gemm();
      case KernelKind::attention_prefill: return reader.attention(false);
      case KernelKind::attention_decode: return reader.attention(true);
      case KernelKind::mla_prefill: return reader.mla(false);
      case KernelKind::mla_decode: return reader.mla(true);
      case KernelKind::moe: return reader.moe();
      case KernelKind::elementwise: return reader.elementwise();
      case KernelKind::softmax: return reader.vector(models::OpKind::softmax, 5);
      case KernelKind::layernorm: return reader.vector(models::OpKind::layer_norm, 7);
      case KernelKind::gelu: return reader.vector(models::OpKind::activation, 8);
      case KernelKind::collective: return reader.collective();
      case KernelKind::moe_dispatch: return reader.exchange(models::OpKind::dispatch);
      case KernelKind::moe_combine: return reader.exchange(models::OpKind::combine);
    }
    return {};
  };
  KernelCall call = call_of();
  if (!reader.errors.empty()) return fail(reader.errors);
  call.kind = kind_;
  return call;
}

std::string RowReader::key(const CsvRow& row) const {
  std::string key;
  if (const auto device = table_->column("device")) key = row.cells[*device];
  for (int slot : slots_)
    if (slot >= 0) key += "|" + row.cells[static_cast<std::size_t>(slot)];
  return key;
}

std::optional<KernelKind> kind_of(const CsvTable& table) {
  auto has = [&](std::string_view name) { return table.column(name).has_value(); };
  const bool decode = has("kv_tokens") && !(has("phase") && !table.rows.empty() && table.rows.front().cells[*table.column("phase")] == "prefill");
  if (has("inter_size")) return KernelKind::moe;
  if (has("mla_dtype")) return decode ? KernelKind::mla_decode : KernelKind::mla_prefill;
  if (has("attn_dtype")) return decode ? KernelKind::attention_decode : KernelKind::attention_prefill;
  if (has("bytes_read")) return KernelKind::elementwise;
  if (has("collective") && has("message_bytes")) return KernelKind::collective;
  if (has("m") && has("n") && has("k") && !has("rows")) return KernelKind::gemm;
  return std::nullopt;
}

namespace {

/// The kind that a cell of a column `op` names, also by the names that other files and the measured suite use.
std::optional<KernelKind> kind_of_op(std::string_view op) {
  constexpr std::pair<std::string_view, KernelKind> aliases[]{{"matmul", KernelKind::gemm}, {"layer_norm", KernelKind::layernorm}};
  for (const auto& [alias, kind] : aliases)
    if (op == alias) return kind;
  return parse_kernel_kind(op);
}

}  // namespace

std::optional<MixedRows> rows_by_kind(const CsvTable& table) {
  const auto column = table.column("op");
  if (!column) return std::nullopt;
  MixedRows mixed;
  for (const CsvRow& row : table.rows) {
    const std::string& op = row.cells[*column];
    if (const auto kind = kind_of_op(op)) {
      auto known = std::ranges::find(mixed.kinds, *kind, &KindRows::kind);
      if (known == mixed.kinds.end()) known = mixed.kinds.insert(known, {*kind, {}});
      known->rows.push_back(&row);
    } else {
      auto known = std::ranges::find(mixed.uncovered, op, &std::pair<std::string, std::size_t>::first);
      if (known == mixed.uncovered.end()) known = mixed.uncovered.insert(known, {op, 0});
      ++known->second;
    }
  }
  if (mixed.kinds.empty()) return std::nullopt;
  return mixed;
}

std::string describe_uncovered(const MixedRows& mixed) {
  std::size_t rows = 0;
  std::string names;
  for (const auto& [op, count] : mixed.uncovered) {
    rows += count;
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", printable(excerpt(op)), count);
  }
  return rows == 0 ? "" : fmt::format("{} rows are skipped, for no kind of kernel reads them: {}", rows, names);
}

}  // namespace gambrel::sim
