// The models of collectives and of the exchanges of expert parallelism: against an independent implementation of the
// same formulas (Python, in which they were found; tests/golden/{collective,exchange}_model.csv), and what rows mean.
#include "sim/kernel_models/collective_model.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "collective_support.hpp"
#include "golden_table.hpp"
#include "sim/calibration/kernel_rows.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;

const std::map<std::string, const KernelModel*> models_by_name{
    {"collective", &collective_model}, {"moe_dispatch", &moe_dispatch_model}, {"moe_combine", &moe_combine_model}};

struct GoldenRow : GoldenCells {
  const KernelModel& model() const {
    const std::string& name = text("constants");
    return *models_by_name.at(name.substr(0, name.find('.')));
  }
};

/// The sets of constants by name, in their models' order.
std::map<std::string, std::vector<double>> golden_constants() {
  std::map<std::string, std::vector<double>> sets;
  const CsvTable table = golden_table("transfer_constants.csv");
  for (const CsvRow& cells : table.rows) {
    const GoldenRow row{table, cells};
    auto& values = sets.try_emplace(row.text("constants"), row.model().constants.size(), std::nan("")).first->second;
    CHECK_MESSAGE(set(row.model(), values, row.text("name"), row.number("value")), row.text("constants") << ": no constant " << row.text("name"));
  }
  return sets;
}

template <class MakeCall>
void check_golden(const std::string& name, std::size_t least_rows, MakeCall make_call) {
  const auto constants = golden_constants();
  const CsvTable table = golden_table(name);
  CHECK(table.rows.size() >= least_rows);
  for (const CsvRow& cells : table.rows) {
    const GoldenRow row{table, cells};
    const auto [call, chip] = make_call(row);
    CHECK(row.text("constants").ends_with(row.model().type_of(call, chip)));
    const double seconds = row.model().predict(call, chip, constants.at(row.text("constants")));
    CHECK_MESSAGE(std::abs(seconds / row.number("seconds") - 1) < 1e-9, name << " line " << cells.line << ": " << seconds << " for " << row.text("seconds"));
  }
}

/// One row of a CSV, read as `kind`.
Result<KernelCall> read_row(KernelKind kind, const std::string& text) {
  auto table = parse_csv(text, "rows.csv");
  REQUIRE(table.has_value());
  auto reader = RowReader::make(*table, kind);
  if (!reader) return fail(reader.error());
  return reader->read(table->rows.front());
}

TEST_CASE("collective: equal to the independent implementation") {
  const std::map<std::string, CollectiveKind> kinds{{"all_reduce", all_reduce}, {"all_gather", all_gather}, {"reduce_scatter", reduce_scatter}, {"all_to_all", all_to_all}};
  check_golden("collective_model.csv", 360, [&](const GoldenRow& row) {
    const DataType type = row.text("dtype") == "int8" ? Format::int8 : Format::bf16;
    const bool custom = row.text("constants").ends_with("custom");
    return std::pair{collective_call(kinds.at(row.text("collective")), row.number("ranks"), row.number("bytes"), type, custom), chip_with_link(row.number("link"))};
  });
}

TEST_CASE("exchange: equal to the independent implementation") {
  check_golden("exchange_model.csv", 160, [](const GoldenRow& row) {
    const Exchange e{.hidden = row.number("hidden"), .tokens = row.number("tokens"), .top_k = row.number("top_k"), .experts = row.number("experts"),
                     .cores = row.number("cores"), .nodes = row.number("nodes")};
    return std::pair{exchange_call(row.model().kind, e), chip_with_link(row.number("link"), row.number("clock"))};
  });
}

TEST_CASE("transfers: every constant has a unique name, a meaning and a usual value in its range") {
  for (const auto& [name, model] : models_by_name) {
    std::set<std::string_view> names;
    CHECK(model->constants.size() <= 15);
    for (const Constant& c : model->constants) {
      CHECK_MESSAGE(names.insert(c.name).second, name << ' ' << c.name);
      CHECK_MESSAGE((c.low <= c.usual && c.usual <= c.high && c.low < c.high), name << ' ' << c.name);
      CHECK_MESSAGE((c.search != Search::logarithmic || c.low > 0), name << ' ' << c.name);
      CHECK_FALSE(c.meaning.empty());
    }
  }
}

TEST_CASE("collective: a large message goes at the link's rate times what the protocol reaches of it") {
  const ChipFigures chip = chip_with_link(400e9);
  auto values = usual_values(collective_model);
  REQUIRE(set(collective_model, values, "bulk_rate", 0.8));
  REQUIRE(set(collective_model, values, "own_share", 0.001));
  const double bytes = 1e12, ring = bytes * 3 / 4 / (0.8 * 400e9);
  const auto seconds = [&](CollectiveKind kind) { return collective_model.predict(collective_call(kind, 4, bytes), chip, values); };
  CHECK(seconds(all_gather) == doctest::Approx(ring).epsilon(0.01));
  CHECK(seconds(reduce_scatter) == doctest::Approx(ring).epsilon(0.01));
  CHECK(seconds(all_to_all) == doctest::Approx(ring).epsilon(0.01));
  CHECK(seconds(all_reduce) == doctest::Approx(2 * ring).epsilon(0.01));
  CHECK(seconds(broadcast) == doctest::Approx(ring * 4 / 3).epsilon(0.01));
}

TEST_CASE("collective: an engine's own all-reduce beats NCCL's while the message is small, other collectives have none") {
  const auto sets = golden_constants();
  const ChipFigures chip = chip_with_link(450e9);
  for (double ranks : {2.0, 4.0, 8.0}) {
    const auto nccl = collective_call(all_reduce, ranks, 16384), own = collective_call(all_reduce, ranks, 16384, Format::bf16, true);
    CHECK(collective_model.predict(own, chip, sets.at("collective.large.custom")) < 0.6 * collective_model.predict(nccl, chip, sets.at("collective.large.nccl")));
  }
  CHECK(collective_model.type_of(collective_call(all_gather, 8, 1, Format::bf16, true), chip) == "nccl");
}

TEST_CASE("collective: only a reduction cares how wide the elements are") {
  const ChipFigures chip = chip_with_link(450e9);
  const auto seconds = [&](CollectiveKind kind, Format type) { return usual_seconds(collective_model, collective_call(kind, 4, 1e8, type), chip); };
  CHECK(seconds(all_gather, Format::int8) == seconds(all_gather, Format::bf16));
  CHECK(seconds(reduce_scatter, Format::int8) > seconds(reduce_scatter, Format::bf16));
}

TEST_CASE("transfers: what cannot be beaten") {
  const ChipFigures chip = chip_with_link(100e9);
  const auto floor = [&](CollectiveKind kind) { return transfer_floor(collective_call(kind, 4, 4e9), chip); };
  CHECK(floor(all_gather) == doctest::Approx(0.03));
  CHECK(floor(all_to_all) == doctest::Approx(0.03));
  CHECK(floor(all_reduce) == doctest::Approx(0.04));
  CHECK(transfer_floor({}, chip) == 0);  // a GEMM
  const Exchange low_latency{.hidden = 1000, .tokens = 100, .top_k = 8, .experts = 64, .cores = 0};
  CHECK(transfer_floor(exchange_call(KernelKind::moe_dispatch, low_latency), chip) == doctest::Approx(100 * 8 * 1000 * 7.0 / 8 / 100e9));
  CHECK(transfer_floor(exchange_call(KernelKind::moe_combine, low_latency), chip) == doctest::Approx(2 * 100 * 8 * 1000 * 7.0 / 8 / 100e9));
}

TEST_CASE("exchange: ranks a token reaches") {
  const auto reached = [](double experts, double top_k) { return ranks_reached({.ranks = 8, .top_k = top_k, .experts = experts}); };
  CHECK(reached(256, 1) == doctest::Approx(1));
  CHECK(reached(8, 8) == doctest::Approx(8));
  CHECK(reached(16, 15) == doctest::Approx(8));  // every pair holds one of any 15
  CHECK(reached(8, 3) == doctest::Approx(3));
  CHECK(reached(16, 2) == doctest::Approx(8 * (1 - 14.0 * 13 / (16 * 15))));
}

TEST_CASE("exchange: a node further away costs more than the same ranks nearby would") {
  const ChipFigures chip = chip_with_link(450e9);
  for (const double cores : {0.0, 20.0}) {
    const auto seconds = [&](double nodes) { return usual_seconds(moe_combine_model, exchange_call(KernelKind::moe_combine, {.tokens = 4096, .cores = cores, .nodes = nodes}), chip); };
    CHECK(seconds(2) > 1.2 * seconds(1));
  }
}

TEST_CASE("rows: a collective's columns") {
  const auto call = read_row(KernelKind::collective, "library,collective,dtype,num_gpus,message_bytes\nnccl 2.27.3,alltoall,half,8,1024\n");
  REQUIRE(call.has_value());
  CHECK(call->message.kind == all_to_all);
  CHECK(call->message.ranks == 8);
  CHECK(call->message.bytes == 1024);
  CHECK_FALSE(call->message.custom);
  CHECK(call->op.kind == models::OpKind::collective);
  CHECK(call->op.work.flops == 0);
  const auto own = read_row(KernelKind::collective, "library,collective,num_gpus,message_bytes\ncustom_allreduce trtllm 1.0.0,all_reduce,8,1024\n");
  REQUIRE(own.has_value());
  CHECK(own->message.custom);
}

TEST_CASE("rows: a bad collective or exchange is an error at its row") {
  const auto unknown = read_row(KernelKind::collective, "collective,num_gpus,message_bytes\nall_reduze,8,1024\n");
  REQUIRE_FALSE(unknown.has_value());
  CHECK(unknown.error().front().at.line == 2);
  CHECK(unknown.error().front().message.find("all_reduze") != std::string::npos);
  CHECK_FALSE(read_row(KernelKind::collective, "collective,num_gpus,message_bytes\nall_reduce,0,1024\n").has_value());
  CHECK_FALSE(read_row(KernelKind::collective, "collective,num_gpus\nall_reduce,8\n").has_value());
  const std::string header = "node_num,hidden_size,num_token,num_topk,num_experts\n";
  CHECK(read_row(KernelKind::moe_dispatch, header + "1,4096,128,8,64\n").has_value());
  CHECK_FALSE(read_row(KernelKind::moe_dispatch, header + "1,4096,128,65,64\n").has_value());
  CHECK_FALSE(read_row(KernelKind::moe_combine, header + "2,4096,128,2,8\n").has_value());
}

TEST_CASE("rows: cores that copy tell DeepEP's normal kernels from its low-latency ones") {
  const auto type = [](const std::string& columns, const std::string& cells) {
    const auto call = read_row(KernelKind::moe_dispatch, "hidden_size,num_token,num_topk,num_experts" + columns + "\n4096,128,8,64" + cells + "\n");
    REQUIRE(call.has_value());
    CHECK(call->message.ranks == 8);
    return std::string(moe_dispatch_model.type_of(*call, {}));
  };
  CHECK(type("", "") == "low_latency");
  CHECK(type(",sms", ",24") == "normal");
  CHECK(type(",dispatch_sms", ",4") == "normal");
  CHECK(type(",op_name", ",normal") == "normal");
  CHECK(type(",op_name", ",ll") == "low_latency");
}

}  // namespace
}  // namespace gambrel::sim
