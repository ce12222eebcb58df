// Run files: what they mean, and every error that no schema can see, with its place and its words.
#include "sim/run.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;
using doctest::Contains;

namespace {

const std::string head = "model: llama-3.2-1b\nsystem: h100-sxm\n";
const std::string decode = head + "workload: {phase: decode, batch: 4, context: 128}\n";

/// One memory level's bandwidth of the run's chip.
double bandwidth(const sim::Run& run, std::string_view level) { return run.system.chip().memory[*run.system.chip().memory_index(level)].bandwidth.value; }

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / fmt::format("gambrel-run-{}", getpid());
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
};

}  // namespace

TEST_CASE("run: a decode step's past is what its context holds before the new tokens") {
  const sim::Run run = run_of(head + "workload: {phase: decode, batch: 4, context: 128, new_tokens: 3}\n");
  CHECK(run.workload.phase == sim::PhaseKind::decode);
  CHECK(run.workload.past_tokens == 125);
  CHECK(run.workload.new_tokens == 3);
  CHECK(run.step(4, 3, 125).logits == 3);  // every drafted token is verified
  CHECK(run.model.id == "llama-3.2-1b");
  CHECK(run.system.chip().id == "h100-sxm");
  CHECK(run.id == "run");  // the file's name
}

TEST_CASE("run: prefill computes the last position's logits unless told otherwise") {
  const std::string start = head + "workload: {phase: prefill, batch: 2, new_tokens: 100, past_tokens: 28";
  const sim::Run last = run_of(start + "}\n"), all = run_of(start + ", logits: all}\n");
  CHECK(last.workload.past_tokens == 28);
  CHECK(last.step(2, 100, 28).logits == 1);
  CHECK(all.step(2, 100, 28).logits == 100);
}

TEST_CASE("run: generate, routing, largest batch") {
  const sim::Run run = run_of(head + "workload: {phase: generate, batch: max, input: 100, output: 20, routing: {distribution: power_law, alpha: 0.5}}\n");
  CHECK(run.workload.phase == sim::PhaseKind::generate);
  CHECK(run.workload.largest_batch);
  CHECK(run.workload.input == 100);
  CHECK(run.workload.output == 20);
  CHECK(run.workload.routing.kind == models::Routing::Kind::power_law);
  CHECK(run.workload.routing.alpha == 0.5);
  CHECK(run_of(decode).workload.routing.kind == models::Routing::Kind::uniform);
  CHECK(run_of(decode, {"workload.routing.distribution=balanced"}).workload.routing.kind == models::Routing::Kind::balanced);
}

TEST_CASE("run: a phase needs its own keys and refuses the others, at their places") {
  CHECK(run_errors(head + "workload: {phase: decode, batch: 4}\n") ==
        "run.yaml:3:11: workload of phase decode needs 'context' | decode takes batch, context; optional: new_tokens, routing\n");
  CHECK(run_errors(head + "workload: {phase: prefill, new_tokens: 4}\n") ==
        "run.yaml:3:11: workload of phase prefill needs 'batch' | prefill takes batch, new_tokens; optional: past_tokens, logits, routing\n");
  CHECK(run_errors(head + "workload: {phase: generate, batch: 4, input: 4}\n") ==
        "run.yaml:3:11: workload of phase generate needs 'output' | generate takes batch, input, output; optional: routing, prefill_batch\n");
  CHECK(run_errors(head + "workload: {phase: decode, batch: 4, context: 9, input: 4}\n") ==
        "run.yaml:3:49: 'input' means nothing in phase decode | decode takes batch, context; optional: new_tokens, routing\n");
  CHECK(run_errors(head + "workload: {phase: prefill, batch: 4, new_tokens: 9, context: 4}\n") ==
        "run.yaml:3:53: 'context' means nothing in phase prefill | prefill takes batch, new_tokens; optional: past_tokens, logits, routing\n");
  CHECK(run_errors(head + "workload: {phase: decode, batch: 4, context: 8, new_tokens: 9}\n") ==
        "run.yaml:3:61: new_tokens 9 is more than context 8 | context counts the new tokens too\n");
}

TEST_CASE("run: values that mean nothing are refused where they stand") {
  CHECK(run_errors(head + "workload: {phase: decode, batch: 0, context: 9}\n").starts_with("run.yaml:3:34: "));
  CHECK(run_errors(head + "workload: {phase: decode, batch: most, context: 9}\n").starts_with("run.yaml:3:34: "));
  CHECK(run_errors(head + "workload: {phase: decode, batch: null, context: 9}\n").starts_with("run.yaml:3:34: "));
  CHECK(run_errors(head + "workload: {phase: decode, batch: 1.5, context: 9}\n").starts_with("run.yaml:3:34: "));
  CHECK(run_errors(head + "workload: {phase: training, batch: 1}\n").starts_with("run.yaml:3:19: "));
  CHECK(run_errors(head + "workload: decode\n").starts_with("run.yaml:3:11: "));
  CHECK(run_errors("model: llama-3.2-1b\nsystem: h100-sxm\n").find("workload") != std::string::npos);
  CHECK(run_errors("model: null\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 9}\n").starts_with("run.yaml:1:8: "));
  CHECK(run_errors(decode + "sparsty: {}\n").find("did you mean 'sparsity'?") != std::string::npos);
  CHECK(run_errors(decode + "precision: {weights: bf17}\n").find("did you mean 'bf16'?") != std::string::npos);
}

TEST_CASE("run: unknown models and machines, with the nearest name") {
  const std::string workload = "workload: {phase: decode, batch: 4, context: 128}\n";
  CHECK(run_errors("model: lama-3.2-1b\nsystem: h100-sxm\n" + workload) == "run.yaml:1:8: there is no 'lama-3.2-1b' in models | did you mean 'llama-3.2-1b'?\n");
  CHECK(run_errors("model: llama-3.2-1b\nsystem: h100-smx\n" + workload) == "run.yaml:2:9: no system or chip is named 'h100-smx' | did you mean 'h100-sxm'?\n");
  CHECK(run_errors("model: llama-3.2-1b\nsystem: dgx-h10\n" + workload) == "run.yaml:2:9: no system or chip is named 'dgx-h10' | did you mean 'dgx-h100'?\n");
  CHECK(run_errors("model: llama-3.2-1b\nsystem: qqqqqqqq\n" + workload) ==
        "run.yaml:2:9: no system or chip is named 'qqqqqqqq' | `gambrel list systems` and `gambrel list chips` name them\n");
  CHECK(run_errors("model: llama-3.2-1b\nsystem: nowhere/chip.yaml\n" + workload).starts_with("run.yaml:2:9: "));
  CHECK(run_errors("model: nowhere/config.json\nsystem: h100-sxm\n" + workload).starts_with("run.yaml:1:8: "));
}

TEST_CASE("run: a system stands for one of its chips, with the system's host behind it") {
  const sim::Run run = run_of("model: llama-3.2-1b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 4, context: 128}\nplacement: {kv_cache: [HBM, NVMe]}\n");
  CHECK(run.system.id == "dgx-h100");
  CHECK(run.system.chip().id == "h100-sxm");
  CHECK(run.placement.kv_cache == std::vector<std::string>{"HBM", "NVMe"});
}

TEST_CASE("run: placement names levels that the machine has, each once") {
  CHECK(run_errors(decode + "placement: {kv_cache: HMB}\n") == "run.yaml:4:23: h100-sxm has no memory level 'HMB' | it has HBM, L2, SMEM, DRAM\n");
  CHECK(run_errors(decode + "placement:\n  weights: [HBM, NVMe]\n") == "run.yaml:5:18: h100-sxm has no memory level 'NVMe' | it has HBM, L2, SMEM, DRAM\n");
  CHECK(run_errors("model: gpt2\nsystem: h100-sxm\nworkload: {phase: train, global_batch: 1, sequence: 64}\nplacement: {weights: DRAM}\n").starts_with("run.yaml:4:12: a training step keeps everything in main memory"));
  CHECK(run_errors(decode + "placement: {weights: [HBM, DRAM, HBM]}\n") == "run.yaml:4:34: level 'HBM' is listed twice | levels are filled one after the other\n");
  const sim::Run run = run_of(decode + "placement: {weights: HBM, kv_cache: [HBM, DRAM], experts_cold: DRAM}\n");
  CHECK(run.placement.weights == std::vector<std::string>{"HBM"});
  CHECK(run.placement.kv_cache == std::vector<std::string>{"HBM", "DRAM"});
  CHECK(run.placement.experts == std::vector<std::string>{"DRAM"});
}

TEST_CASE("run: sparsity is none, N:M or a density") {
  using Structure = models::WeightSparsity::Structure;
  CHECK(run_of(decode).sparsity.structure == Structure::none);
  CHECK(run_of(decode + "sparsity: {weights: none}\n").sparsity.structure == Structure::none);
  const sim::Run structured = run_of(decode + "sparsity: {weights: \"2:4\"}\n");
  CHECK(structured.sparsity.structure == Structure::n_of_m);
  CHECK(structured.sparsity.density == 0.5);
  CHECK(structured.sparsity_pattern == "2:4");
  CHECK(run_of(decode + "sparsity: {weights: \"02:04\"}\n").sparsity_pattern == "2:4");
  const sim::Run random = run_of(decode + "sparsity: {weights: {density: 0.3, structure: unstructured}}\n");
  CHECK(random.sparsity.structure == Structure::unstructured);
  CHECK(random.sparsity.density == 0.3);
  CHECK(run_of(decode + "sparsity: {weights: {density: 0.3, structure: block}}\n").sparsity.structure == Structure::block);
  for (const std::string bad : {"4:2", "2:2", "0:4", "-1:4", "2:", ":4", "2", "2:4x", "half", "2:2000", "99999999999:4"})
    CHECK_MESSAGE(run_errors(decode + "sparsity: {weights: \"" + bad + "\"}\n") ==
                      fmt::format("run.yaml:4:21: '{}' is not a sparsity | write none, N:M with 0 < N < M as in \"2:4\", or {{density: 0.5, structure: unstructured}}\n", bad),
                  bad);
  CHECK(run_errors(decode + "sparsity: {weights: {density: 0, structure: block}}\n").starts_with("run.yaml:4:31: "));
}

TEST_CASE("run: assume names kinds of operators") {
  CHECK(run_of(decode + "assume: {gemm: 0.85, attention: 0.5}\n").assume == std::vector<std::pair<std::string, double>>{{"gemm", 0.85}, {"attention", 0.5}});
  CHECK(run_errors(decode + "assume: {gem: 0.85}\n") == "run.yaml:4:10: 'gem' is no kind of operator | did you mean 'gemm'?\n");
  CHECK(run_errors(decode + "assume: {qqqqqqqqqqqq: 0.85}\n").find("kinds are gemm, batched_gemm, grouped_gemm, attention") != std::string::npos);
  CHECK(run_errors(decode + "assume: {gemm: 1.2}\n").starts_with("run.yaml:4:16: "));
  CHECK(run_errors(decode + "assume: {gemm: 0}\n").starts_with("run.yaml:4:16: "));
}

TEST_CASE("run: a plan of more chips than there are is refused where it says so") {
  const std::string one = "8 chips, but h100-sxm has 1 | a larger system, or a smaller plan\n";
  CHECK(run_errors(decode + "plan: {tensor: 1, pipeline: 8}\n") == "run.yaml:4:7: " + one);
  CHECK(run_errors(decode + "plan: {tensor: 2, data: 4, expert: 8}\n") == "run.yaml:4:7: " + one);
  CHECK(run_errors(decode + "chips: 8\n") == "run.yaml:4:8: " + one);
  CHECK(run_of(decode + "plan: {tensor: 1, data: 1}\nchips: 1\n").system.id == "h100-sxm");
}

TEST_CASE("run: --set reaches every document, and is checked by its schema") {
  const double before = bandwidth(run_of(decode), "HBM");
  CHECK(bandwidth(run_of(decode, {"chip.memory.HBM.bandwidth=5 TB/s"}), "HBM") == 5e12);
  CHECK(bandwidth(run_of(decode, {"chip.memory.HBM.bandwidth=2x"}), "HBM") == doctest::Approx(2 * before));
  CHECK(run_of(decode, {"model.hidden=4096"}).model.hidden == 4096);
  CHECK(run_of(decode, {"workload.batch=64"}).workload.batch == 64);
  CHECK(run_of(decode, {"workload.batch=3x"}).workload.batch == 12);
  CHECK(run_of(decode, {"system=a100-sxm-80gb"}).system.id == "a100-sxm-80gb");
  CHECK(run_of(decode, {"model=gpt2"}).model.id == "gpt2");
  CHECK(run_of(decode, {"precision.weights=fp8"}).precision.all.weights == DataType(Format::fp8_e4m3));
  CHECK(run_of(decode, {"system=dgx-h100", "system.network.nvlink.bandwidth=900 GB/s"}).system.pools[0].network[0].bandwidth.value == 900e9);
  CHECK(run_errors(decode, {"chip.memory.HBM.bandwidth=5 TB"}).starts_with("--set:1:1: "));
  CHECK(run_errors(decode, {"chip.memory.HBM.bandwidth=-5 TB/s"}).starts_with("--set:1:1: "));
  CHECK(run_errors(decode, {"chip.memory.HMB.bandwidth=5 TB/s"}).find("did you mean 'HBM'?") != std::string::npos);
  CHECK(run_errors(decode, {"chip.energi=5"}).find("did you mean 'energy'?") != std::string::npos);
  CHECK(run_errors(decode, {"workload.new_token=5"}).find("did you mean 'new_tokens'?") != std::string::npos);
  CHECK(run_errors(decode, {"model.hidden=0"}).starts_with("--set:1:1: "));
  CHECK(run_errors(decode, {"model.hiden=5"}).starts_with("--set:1:1: "));
  CHECK(run_errors(decode, {"system.network.nvlink.bandwidth=900 GB/s"}) ==
        "--set:1:1: 'system.network.nvlink.bandwidth' names a system's key, but 'h100-sxm' is a single chip | set chip.* keys, or name a system\n");
}

TEST_CASE("run: what a setting could not change any more is refused, not ignored") {
  for (const std::string key : {"set.x", "base", "chip.base", "model.base"})
    CHECK_MESSAGE(run_errors(decode, {key + "=h200-sxm"}).starts_with("--set:1:1: "), key);
}

TEST_CASE("run: set: of the file first, in its order, then the command line") {
  const std::string file = decode + "set: {chip.memory.HBM.bandwidth: 2 TB/s, workload.batch: 8}\n";
  CHECK(bandwidth(run_of(file), "HBM") == 2e12);
  CHECK(run_of(file).workload.batch == 8);
  CHECK(bandwidth(run_of(file, {"chip.memory.HBM.bandwidth=2x"}), "HBM") == 4e12);
  CHECK(bandwidth(run_of(file, {"chip.memory.HBM.bandwidth=1 TB/s", "chip.memory.HBM.bandwidth=3x"}), "HBM") == 3e12);
  CHECK(run_errors(decode + "set: {chip.memory.HMB.bandwidth: 2x}\n").starts_with("run.yaml:4:7: "));
  CHECK(run_errors(decode + "set: [1]\n").starts_with("run.yaml:4:6: "));
}

TEST_CASE("run: settings are kept to be printed") {
  const sim::Run run = run_of(decode + "precision: {weights: fp8}\n", {"chip.memory.HBM.bandwidth=2x"});
  const std::vector<std::pair<std::string, std::string>> expected{
      {"workload", "phase decode, batch 4, context 128"}, {"precision", "weights fp8"}, {"set chip.memory.HBM.bandwidth", "2x"}};
  CHECK(run.settings == expected);
}

TEST_CASE("run: the hash tells inputs apart and nothing else") {
  const std::string hash = run_of(decode).config_hash;
  CHECK(hash.size() == 32);
  CHECK(run_of(decode).config_hash == hash);
  CHECK(run_of("# a comment\n" + decode).config_hash == hash);
  CHECK(run_of(decode, {"workload.batch=5"}).config_hash != hash);
  CHECK(run_of(decode, {"chip.memory.HBM.bandwidth=2x"}).config_hash != hash);
  CHECK(run_of(decode, {"model.vocab=128000"}).config_hash != hash);
}

TEST_CASE("run: fused by default, in pieces on request") {
  CHECK(run_of(decode).fused_attention);
  CHECK(run_of(decode).fused_experts);
  const sim::Run pieces = run_of(decode + "fusion: {attention: false, experts: false}\n");
  CHECK_FALSE(pieces.fused_attention);
  CHECK_FALSE(pieces.fused_experts);
  using models::Epilogue;
  CHECK(run_of(decode).fusion.norms);
  CHECK(run_of(decode).fusion.rotary);
  CHECK(run_of(decode).fusion.activation == Epilogue::simple);
  CHECK(run_of(decode + "fusion: {activation: true}\n").fusion.activation == Epilogue::all);
  CHECK(run_of(decode + "fusion: {activation: false}\n").fusion.activation == Epilogue::none);
  CHECK_FALSE(run_of(decode + "fusion: {norms: false}\n").fusion.norms);
  CHECK_FALSE(run_of(decode + "fusion: {rotary: false}\n").fusion.rotary);
}

TEST_CASE("run: a Hugging Face config.json by its path, unchanged, its quantisation beside it") {
  const Folder folder;
  const std::string config = folder.write("tiny/config.json",
      R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": 1000, "torch_dtype": "bfloat16", "tie_word_embeddings": false})");
  const std::string text = fmt::format("model: {}\nsystem: h100-sxm\nworkload: {{phase: decode, batch: 4, context: 128}}\n", config);
  const sim::Run run = run_of(text);
  CHECK(run.model.id == "tiny");
  CHECK(run.model.hidden == 64);
  CHECK(run.model.layer_count() == 2);
  CHECK_FALSE(run.model.precision.all.weights.has_value());
  CHECK(run_of(text, {"model.hidden=128"}).model.hidden == 128);
  folder.write("tiny/hf_quant_config.json", R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}})");
  CHECK(run_of(text).model.precision.all.weights.has_value());
  folder.write("tiny/hf_quant_config.json", "{");
  CHECK(run_errors(text).find("hf_quant_config.json:1:") != std::string::npos);
  folder.write("tiny/config.json", R"({"model_type": "unheard_of", "hidden_size": 64})");
  std::filesystem::remove(folder.path / "tiny/hf_quant_config.json");
  CHECK(run_errors(text).find("unheard_of") != std::string::npos);
  CHECK(run_errors(text).find("llama") != std::string::npos);  // the known ones are listed
}

TEST_CASE("run: paths count from the run file's own folder") {
  const Folder folder;
  folder.write("chips/mine.yaml", "chip: mine\nbase: h100-sxm\nmemory: [{level: HBM, bandwidth: 9 TB/s}]\n");
  const std::string file = folder.write("run.yaml", "model: llama-3.2-1b\nsystem: chips/mine.yaml\nworkload: {phase: decode, batch: 4, context: 128}\n");
  auto document = shipped().load("runs", file);
  REQUIRE(document.has_value());
  const auto run = sim::read_run(shipped(), *document, {});
  REQUIRE_MESSAGE(run.has_value(), placed(run ? Diagnostics{} : run.error()));
  CHECK(run->system.id == "mine");
  CHECK(bandwidth(*run, "HBM") == 9e12);
}

TEST_CASE("run: every shipped run reads") {
  for (const std::string& name : shipped().names("runs")) {
    if (name.starts_with("compare-")) continue;  // a comparison of runs
    auto document = shipped().load("runs", name);
    REQUIRE(document.has_value());
    const auto run = sim::read_run(shipped(), *document, {});
    CHECK_MESSAGE(run.has_value(), placed(run ? Diagnostics{} : run.error()));
    if (run) CHECK(run->id == name);
  }
}
