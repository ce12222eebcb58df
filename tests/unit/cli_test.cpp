// The program's contract: what each verb prints, above all the JSON that others read.
#include "program_support.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/catalog.hpp"

using namespace gambrel::test;
using nlohmann::json;

namespace {

const gambrel::Catalog& shipped() {
  static const gambrel::Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  return catalog;
}

json json_of(const std::string& arguments) {
  const std::string text = output_of(arguments);
  const json parsed = json::parse(text, nullptr, false);
  CHECK_MESSAGE(!parsed.is_discarded(), arguments);
  return parsed;
}

void check_operator(const json& op, const json& levels) {
  for (const char* key : {"name", "kind", "bound", "provenance"}) CHECK_MESSAGE((op.contains(key) && op[key].is_string() && !op[key].get<std::string>().empty()), key);
  for (const char* key : {"count", "flops", "intensity", "t_math_s", "t_mem_s", "time_s", "roofline_s"}) {
    REQUIRE_MESSAGE((op.contains(key) && op[key].is_number()), key);
    CHECK_MESSAGE(op[key].get<double>() >= 0, key);
  }
  REQUIRE(op["bytes"].is_object());
  for (const auto& [level, bytes] : levels.items()) CHECK_MESSAGE((op["bytes"].contains(level) && op["bytes"][level].is_number()), level);
  const bool network = op["bound"] == "network";
  CHECK((network || op["bound"] == "compute" || op["bound"] == "launch" || levels.contains(op["bound"].get<std::string>())));
  const double alone = network ? op["t_net_s"].get<double>() : std::max(op["t_math_s"].get<double>(), op["t_mem_s"].get<double>());
  CHECK(op["time_s"].get<double>() >= op["roofline_s"].get<double>());
  CHECK(op["roofline_s"].get<double>() <= alone * (1 + 1e-12));
  // T_math of a systolic array is that of its folds, the roofline's of its peak.
  if (op["provenance"] == "calibrated" && !op["fused"].get<bool>()) CHECK(op["roofline_s"].get<double>() == doctest::Approx(alone));
}

}  // namespace

TEST_CASE("cli: every shipped run has the JSON of the contract") {
  for (const std::string& name : shipped().names("runs")) {
    if (name.starts_with("compare-")) continue;  // a comparison of runs
    CAPTURE(name);
    const json e = json_of("estimate " GAMBREL_SOURCE_DIR "/configs/runs/" + name + ".yaml --format json");
    CHECK(e["schema_version"].is_number());
    CHECK(e["run"] == name);
    const json& total = e["total"];
    for (const char* key : {"time_s", "roofline_s", "flops", "bytes_main", "tokens", "tokens_per_s", "mfu", "mbu"}) {
      REQUIRE_MESSAGE(total[key].is_number(), key);
      CHECK_MESSAGE(total[key].get<double>() > 0, key);
    }
    CHECK(total["bound"].is_string());
    REQUIRE(total["bytes"].is_object());
    CHECK(total["bytes"][e["phases"][0]["main_level"].get<std::string>()] == total["bytes_main"]);
    CHECK(total["bytes"].begin().value().is_number());
    REQUIRE(e["ops"].size() >= 10);
    double time = 0, flops = 0, bytes = 0;
    for (const json& op : e["ops"]) {
      check_operator(op, total["bytes"]);
      const double count = op["count"].get<double>(), everywhere = count * op["ranks"].get<double>();
      time += count * op["time_s"].get<double>();
      flops += everywhere * op["flops"].get<double>();
      bytes += everywhere * op["bytes"][e["phases"][0]["main_level"].get<std::string>()].get<double>();
    }
    // On several chips operators overlap and wait: the step is composed, and its parts are told apart.
    const json& parts = e["timeline"];
    if (e["chips"] == 1 && !e.contains("training")) CHECK(total["time_s"].get<double>() == doctest::Approx(time));
    CHECK(total["time_s"].get<double>() == doctest::Approx(parts["compute_s"].get<double>() + parts["exposed_network_s"].get<double>() + parts["bubble_s"].get<double>() + parts["overhead_s"].get<double>()));
    CHECK(total["flops"].get<double>() == doctest::Approx(flops));
    CHECK(total["bytes_main"].get<double>() == doctest::Approx(bytes));
  }
}

TEST_CASE("cli: a generation adds its serving figures, and each operator's phase") {
  const json e = json_of("estimate llama-3.1-8b-generate-h100 --format json");
  for (const char* key : {"ttft_s", "tpot_s", "latency_s", "output_tokens_per_s"}) CHECK(e["serving"][key].get<double>() > 0);
  CHECK(e["ops"].front()["phase"] == "prefill");
  CHECK(e["ops"].back()["phase"] == "decode");
  CHECK(e["phases"].size() == 2);
}

TEST_CASE("cli: import counts parameters") {
  const json e = json_of("import llama-3.1-8b --format json");
  CHECK(e["parameters"]["total"] == 8030261248);
  CHECK(e["parameters"]["active"] == 8030261248 - 128256LL * 4096);
  const Scratch folder;
  const std::string config = folder.write("tiny/config.json",
      R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000, "torch_dtype": "bfloat16"})");
  // embedding and lm_head 1000 x 64; a layer: q and o 64 x 64, k and v 64 x 32, three of 64 x 128, two norms; a last norm.
  const long long layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64, total = 2 * 1000 * 64 + 2 * layer + 64;
  const json tiny = json_of("import " + config + " --format json");
  CHECK(tiny["parameters"]["total"] == total);
  CHECK(tiny["parameters"]["active"] == total - 1000 * 64);
  CHECK(output_of("import " + config + " --format table").find("tiny") != std::string::npos);

  // What import writes is a model file that means the same.
  const std::string lowered = folder.path("tiny.yaml");
  CHECK(program("import " + config + " --output " + lowered).code == 0);
  CHECK(json_of("import " + lowered + " --format json")["parameters"] == tiny["parameters"]);
  const std::string rest = " --chip h100-sxm --batch 3 --context 77 --format json";
  CHECK(json_of("estimate --model " + lowered + rest)["total"] == json_of("estimate --model " + config + rest)["total"]);
}

TEST_CASE("cli: every format of every verb says something") {
  for (const std::string verb : {"estimate llama-3.1-8b-decode-h100", "roofline llama-3.1-8b-decode-h100 llama-3.1-8b-decode-tpu-v5e",
                                 "explain llama-3.1-8b-decode-h100 llama-3.1-8b-decode-tpu-v5e"})
    for (const std::string format : {"table", "json", "csv", "markdown"}) {
      const std::string text = output_of(verb + " --format " + format);
      CHECK_MESSAGE(text.size() > 200, verb, " ", format);
      CHECK_MESSAGE(text.back() == '\n', verb, " ", format);
      CHECK_MESSAGE(text.find('\x1b') == std::string::npos, verb, " ", format);  // no colours into a pipe
      if (format == "json") CHECK(json::accept(text));
      if (format == "csv") CHECK(text.find(',') != std::string::npos);
      if (format == "markdown") CHECK(text.find("|--") != std::string::npos);
    }
  const std::string csv = output_of("estimate llama-3.1-8b-decode-h100 --format csv");
  const json e = json_of("estimate llama-3.1-8b-decode-h100 --format json");
  CHECK(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')) >= e["ops"].size() + 1);
}

TEST_CASE("cli: options stand for a file") {
  const json file = json_of("estimate llama-3.1-8b-decode-h100 --format json --set precision=null --set chips=null");
  const json options = json_of("estimate --model llama-3.1-8b --chip h100-sxm --phase decode --batch 32 --context 8192 --format json");
  CHECK(file["total"] == options["total"]);
  CHECK(file["ops"] == options["ops"]);
  CHECK(file["memory"] == options["memory"]);
  const json generate = json_of("estimate --model llama-3.1-8b --system h100-sxm --phase generate --batch 32 --input 2048 --output 256 --format json");
  CHECK(generate["serving"] == json_of("estimate llama-3.1-8b-generate-h100 --format json")["serving"]);
  const json prefill = json_of("estimate --model llama-3.1-8b --chip h100-sxm --phase prefill --batch 1 --new-tokens 8192 --format json");
  CHECK(prefill["total"] == json_of("estimate llama-3.1-8b-prefill-h100 --format json")["total"]);
  CHECK(json_of("estimate --model llama-3.1-8b --chip h100-sxm --batch max --context 8192 --format json")["memory"]["max_batch"] == file["memory"]["max_batch"]);
}

TEST_CASE("cli: --set changes what it names, on every verb that takes it") {
  const auto hbm = [](const json& e) { return e["roofs"].back(); };
  const json before = json_of("estimate llama-3.1-8b-decode-h100 --format json"), after = json_of("estimate llama-3.1-8b-decode-h100 --format json --set chip.memory.HBM.bandwidth=2x --set workload.batch=16");
  CHECK(after["total"]["tokens"] == 16);
  CHECK(after["total"]["time_s"].get<double>() < before["total"]["time_s"].get<double>());
  CHECK(hbm(after) == hbm(before));
  CHECK(after["config_hash"] != before["config_hash"]);
  CHECK(after["settings"]["set chip.memory.HBM.bandwidth"] == "2x");
  CHECK(json_of("roofline llama-3.1-8b-decode-h100 --format json --set workload.batch=16")["runs"][0]["total"]["tokens"] == 16);
}

TEST_CASE("cli: explain adds up") {
  const json e = json_of("explain llama-3.1-8b-decode-h100 llama-3.1-8b-decode-h100 --set-b chip.memory.HBM.bandwidth=2x --format json");
  CAPTURE(e.dump(1).substr(0, 400));
  double sum = 0;
  for (const json& d : e["differences"]) sum += d["delta_s"].get<double>();
  CHECK(sum == doctest::Approx(e["delta_s"].get<double>()));
  CHECK(sum < 0);
}

TEST_CASE("cli: roofline writes what it is asked to, whole, and says where") {
  const Scratch folder;
  const std::string html = folder.path("report.html"), svg = folder.path("chart.svg");
  const Outcome o = program("roofline llama-3.1-8b-decode-h100 llama-3.1-8b-decode-tpu-v5e --html " + html + " --svg " + svg);
  CHECK_MESSAGE(o.code == 0, o.err);
  CHECK(o.out.empty());
  CHECK(o.err == "wrote " + html + "\nwrote " + svg + "\n");
  CHECK(text_of(html).find("</html>") != std::string::npos);
  CHECK(text_of(svg).find("</svg>") != std::string::npos);
  CHECK(folder.files() == 2);  // no half files beside them
  const std::string again = text_of(html);
  CHECK(program("roofline llama-3.1-8b-decode-h100 llama-3.1-8b-decode-tpu-v5e --html " + html).code == 0);
  CHECK(text_of(html) == again);
}

TEST_CASE("cli: list names what can be named") {
  for (const std::string folder : {"chips", "systems", "models", "runs"}) {
    const std::string text = output_of("list " + folder);
    const json names = json_of("list " + folder + " --format json")[folder];
    CHECK(names.size() == shipped().names(folder).size());
    for (const std::string& name : shipped().names(folder)) CHECK_MESSAGE(text.find(name) != std::string::npos, name);
  }
  CHECK(output_of("list runs").find("Llama-3.1-8B serving 32 sequences of 8,192 tokens on one H100") != std::string::npos);
  CHECK(output_of("list operators").find("expert_ffn") != std::string::npos);
  CHECK(output_of("list formats").find("mxfp4") != std::string::npos);
  CHECK(output_of("list formats").find("4.25 bits") != std::string::npos);
  CHECK(output_of("list families").find("deepseek_v3") != std::string::npos);
  CHECK(output_of("list") == output_of("list chips"));
}

TEST_CASE("cli: show gives everything shipped back, with its base resolved") {
  CHECK(output_of("show h200-sxm").find("matrix") != std::string::npos);  // of h100-sxm
  for (const std::string kind : {"chips", "systems", "models", "runs"}) {
    const std::string name = shipped().names(kind).front(), singular = kind.substr(0, kind.size() - 1);
    CHECK_FALSE(output_of("show " + name + " --kind " + singular).empty());
    CHECK(json::accept(output_of("show " + name + " --format json --kind " + singular)));
  }
  const std::string dot = output_of("show llama-3.2-1b --format dot");
  CHECK(dot.starts_with("digraph gambrel {"));
  CHECK(dot.find("layers.0-15.attn.qkv") != std::string::npos);
  // A chip as shown is a chip file again.
  const Scratch folder;
  const std::string chip = folder.write("copy.yaml", output_of("show h200-sxm"));
  const std::string rest = " --model gpt2 --batch 1 --context 8 --format json";
  CHECK(json_of("estimate --chip " + chip + rest)["total"] == json_of("estimate --chip h200-sxm" + rest)["total"]);
}

TEST_CASE("cli: show --area: parts, the stated die, what one more costs; refused for what has no silicon") {
  const std::string text = output_of("show a100-sxm-80gb --area");
  for (const char* word : {"matrix units", "memory interface", "stated    826 mm2", "1 core", "1 MiB of L2", "1 GB/s of HBM"}) CHECK_MESSAGE(text.find(word) != std::string::npos, word);
  const auto node = json_of("show a100-sxm-80gb --area --format json");
  double sum = 0;
  for (const auto& part : node["parts_mm2"]) sum += part.get<double>();
  CHECK(sum == doctest::Approx(node["modelled_mm2"].get<double>()));
  CHECK(node["stated_mm2"].get<double>() == doctest::Approx(826));
  for (const auto& one : node["marginal"]) CHECK(one["usd"].get<double>() > 0);
  CHECK(program("show gpt2 --area").code == 2);
  CHECK(program("show tpu-v5e --area").code == 3);
}

TEST_CASE("cli: schemas are the shipped files") {
  for (const std::string name : {"chip", "system", "model", "run", "technology"}) CHECK(output_of("schema " + name) == text_of(GAMBREL_SOURCE_DIR "/configs/schema/" + name + ".json"));
}

TEST_CASE("cli: completion scripts are ones their shells take") {
  const Scratch folder;
  const std::string script = folder.write("gambrel.bash", output_of("completion bash"));
  CHECK(std::system(("bash -n " + quoted(script)).c_str()) == 0);
  // Completing the verb, and an option of it.
  const std::string words = folder.path("words"), ask = "; _gambrel; echo \"${COMPREPLY[*]}\" >>" + quoted(words);
  const std::string shell = "source " + quoted(script) + "; COMP_WORDS=(gambrel expl); COMP_CWORD=1" + ask + "; COMP_WORDS=(gambrel estimate --form); COMP_CWORD=2" + ask;
  CHECK(std::system(("bash -c " + quoted(shell)).c_str()) == 0);
  CHECK(text_of(words) == "explain\n--format\n");
  CHECK(output_of("completion zsh").find("bashcompinit") != std::string::npos);
  const std::string fish = output_of("completion fish");
  for (const std::string verb : {"estimate", "roofline", "explain", "import", "list", "show", "schema", "completion"}) CHECK_MESSAGE(fish.find(" -a " + verb + " ") != std::string::npos, verb);
}

TEST_CASE("cli: help and version") {
  CHECK(output_of("--help").find("estimate") != std::string::npos);
  CHECK(output_of("--version").starts_with("gambrel "));
  CHECK(output_of("estimate --help").find("--set") != std::string::npos);
}

TEST_CASE("cli: configurations beside the program or where --configs says") {
  const Scratch folder;
  std::filesystem::create_directories(folder.path("chips"));
  std::filesystem::copy_file(GAMBREL_SOURCE_DIR "/configs/chips/h100-sxm.yaml", folder.path("chips/only.yaml"));
  CHECK(output_of("--configs " + folder.path("") + " list chips").starts_with("only "));
  CHECK(program("list chips", "", folder.path("")).out.starts_with("only "));
}
