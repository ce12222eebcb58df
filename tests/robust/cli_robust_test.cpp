// The program on bad input: exit code 3, the place, a hint, nothing on standard output and nothing written.
#include "tests/unit/program_support.hpp"

#include <chrono>
#include <regex>
#include <vector>

using namespace gambrel::test;

namespace {

const std::string run = "model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 4, context: 128}\n";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Refused by `verb` as bad input with `complaint` on the first line, and no file left behind.
void refuse(const Scratch& folder, const std::string& arguments, const std::string& complaint) {
  const std::size_t before = folder.files();
  const auto start = std::chrono::steady_clock::now();
  const Outcome o = program(arguments);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  CHECK_MESSAGE(o.code == 3, arguments, "\n", o.err);
  CHECK_MESSAGE(o.out.empty(), arguments);
  CHECK_MESSAGE(has(o.err.substr(0, o.err.find('\n')), complaint), arguments, "\n", o.err);
  CHECK_MESSAGE(has(o.err, "error: "), o.err);
  CHECK_MESSAGE(o.err.size() < 20000, o.err.size());
  CHECK_MESSAGE(folder.files() == before, arguments);
  CHECK_MESSAGE(taken.count() < 20, arguments);
}

/// A run file with that text, refused at "bad.yaml:<at>: error: <message>" with a hint, by both verbs that take runs.
void refuse_run(const std::string& text, const std::string& at, const std::string& message, bool hinted = true) {
  const Scratch folder;
  const std::string file = folder.write("bad.yaml", text), html = folder.path("report.html"), svg = folder.path("chart.svg");
  refuse(folder, "estimate " + file, "bad.yaml:" + at + (at.ends_with(':') ? "" : ": error: "));
  refuse(folder, "roofline " + file + " --html " + html + " --svg " + svg, "bad.yaml:" + at + (at.ends_with(':') ? "" : ": error: "));
  const std::string err = program("estimate " + file).err;
  CHECK_MESSAGE(has(err, message), err);
  if (hinted) CHECK_MESSAGE(has(err, "\n  hint: "), err);
}

std::string model_file(const std::string& heads, const std::string& kv_heads) {
  return "model: bad\nhidden: 64\nvocab: 100\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: " + heads + ", kv_heads: " + kv_heads +
         ", head_dim: 16}\n    ffn: {kind: dense, inner: 128, activation: swiglu}\n";
}

std::string config_json(const std::string& more) {
  return R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100, )" + more + "}";
}

/// A run of a model of one's own.
void refuse_model(const std::string& name, const std::string& text, const std::string& complaint) {
  const Scratch folder;
  const std::string model = folder.write(name, text), html = folder.path("report.html");
  const std::string file = folder.write("run.yaml", "model: " + model + "\nsystem: h100-sxm\nworkload: {phase: decode, batch: 4, context: 128}\n");
  refuse(folder, "roofline " + file + " --html " + html, complaint);
  refuse(folder, "estimate " + file, complaint);
  refuse(folder, "import " + model, complaint);
  refuse(folder, "import " + model + " -o " + folder.path("out.yaml"), complaint);
  refuse(folder, "show --kind model " + model, complaint);
}

}  // namespace

TEST_CASE("bad run: unknown and duplicate keys") {
  refuse_run(run + "precison: {weights: bf16}\n", "4:1", "did you mean 'precision'?");
  refuse_run("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 4, contxt: 128}\n", "3:37", "did you mean 'context'?");
  refuse_run(run + "model: gpt2\n", "4:1", "model", false);
}

TEST_CASE("bad run: wrong kinds, units and numbers") {
  refuse_run(run + "set: {chip.memory.HBM.bandwidth: 5 TB}\n", "4:7", "B/s", false);
  refuse_run(run + "set: {chip.memory.HBM.bandwidth: 5}\n", "4:7", "B/s", false);
  refuse_run(run + "set: {chip.memory.HBM.bandwidth: -5 TB/s}\n", "4:7", "cannot be negative", false);
  refuse_run(run + "set: {chip.memory.HBM.bandwidth: 0 B/s}\n", "4:7", "more than 0", false);
  refuse_run(run + "set: {chip.memory.HBM.bandwidth: 1e400 B/s}\n", "4:7", "1e400", false);
  refuse_run("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1e400, context: 128}\n", "3:34", "1e400", false);
  refuse_run("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: .nan, context: 128}\n", "3:34", ".nan", false);
  refuse_run("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: -4, context: 128}\n", "3:34", "whole number");
  refuse_run("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 4, context: 0}\n", "3:46", "whole number");
  refuse_run("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: dekode, batch: 4, context: 8}\n", "3:19", "decode");
}

TEST_CASE("bad run: text that is no YAML, or more than a configuration needs") {
  refuse_run("model: [llama\n", "1:14", "is not closed");
  refuse_run(run + "notes: \"never closed\n", "4:8", "is not closed");
  refuse_run(run + "notes: \xff\xfe\n", "4:8", "UTF-8", false);
  refuse_run("a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\n", "1:4", "anchor", false);
  refuse_run(run + "---\nmodel: gpt2\n", "4:1", "document", false);
  refuse_run("", "1:1", "mapping", false);
  refuse_run("- a list\n", "1:1", "mapping", false);
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "[";
  refuse_run(run + "notes: " + deep + "\n", "4:", "error: ", false);
}

TEST_CASE("bad run: 50 MB are not read") {
  const Scratch folder;
  const std::string file = folder.write("large.yaml", run + "notes: " + std::string(50'000'000, 'x') + "\n");
  refuse(folder, "estimate " + file, "large.yaml");
  refuse(folder, "roofline " + file + " --html " + folder.path("report.html"), "large.yaml");
}

TEST_CASE("bad run: no file, a folder, a device") {
  const Scratch folder;
  refuse(folder, "estimate " + folder.path("nowhere.yaml"), "nowhere.yaml: error: there is no such file");
  refuse(folder, "estimate " + folder.path(""), "is a directory, not a file");
  refuse(folder, "estimate /dev/zero", "is not a regular file");
  refuse(folder, "estimate lama-3.1-8b-decode-h100", "there is no 'lama-3.1-8b-decode-h100' in runs");
  CHECK(has(program("estimate lama-3.1-8b-decode-h100").err, "did you mean 'llama-3.1-8b-decode-h100'?"));
  refuse(folder, "roofline " + folder.path("nowhere.yaml") + " --html " + folder.path("report.html"), "nowhere.yaml");
  refuse(folder, "explain llama-3.1-8b-decode-h100 " + folder.path("nowhere.yaml"), "nowhere.yaml");
  refuse(folder, "import " + folder.path(""), "is a directory, not a file");
  refuse(folder, "show --kind chip " + folder.path("nowhere.yaml"), "nowhere.yaml");
  refuse(folder, "show nothing-of-that-name", "nothing shipped is named 'nothing-of-that-name'");
  refuse(folder, "--configs " + folder.path("nowhere") + " list chips", "there is no folder");
}

TEST_CASE("bad run: nothing is written when only the last of several runs is bad") {
  const Scratch folder;
  const std::string bad = folder.write("bad.yaml", run + "precison: {}\n");
  refuse(folder, "roofline llama-3.1-8b-decode-h100 " + bad + " --html " + folder.path("report.html") + " --svg " + folder.path("chart.svg"), "bad.yaml:4:1: error: ");
}

TEST_CASE("bad run: what is found only when it is predicted") {
  refuse_run("model: llama-3.1-405b\nsystem: h100-sxm\nworkload: {phase: decode, batch: max, context: 128}\n", "3:11", "not even one sequence");
  refuse_run(run + "placement: {weights: [HBM, FLASH]}\n", "4:28", "it has HBM");
  refuse_run(run + "plan: {tensor: 8}\n", "4:7", "8 chips, but h100-sxm has 1");
  refuse_run("base: bad.yaml\n" + run, "1:7", "builds on itself");
}

TEST_CASE("bad run: cycles of two files") {
  const Scratch folder;
  const std::string one = folder.write("one.yaml", "base: two.yaml\n" + run);
  folder.write("two.yaml", "base: one.yaml\n" + run);
  refuse(folder, "estimate " + one, "yaml:1:7: error: 'one' builds on itself");
}

TEST_CASE("bad model: heads") {
  refuse_model("bad.yaml", model_file("0", "1"), "bad.yaml:6:");
  refuse_model("bad.yaml", model_file("6", "4"), "bad.yaml:6:");
  refuse_model("bad.yaml", model_file("4", "0"), "bad.yaml:6:");
  refuse_model("bad.yaml", model_file("-4", "1"), "bad.yaml:6:");
  refuse_model("bad.yaml", model_file("1e300", "1"), "bad.yaml:6:");
  refuse_model("config.json", config_json(R"("num_attention_heads": 0)"), "config.json:1:");
  refuse_model("config.json", config_json(R"("num_attention_heads": 6, "num_key_value_heads": 4, "head_dim": 8)"), "config.json:1:");
  refuse_model("config.json", config_json(R"("num_attention_heads": 5)"), "config.json:1:");
}

TEST_CASE("bad model: absurd Hugging Face configurations") {
  refuse_model("config.json", R"({"model_type": "unheard_of", "hidden_size": 64})", "config.json:1:16: error: ");
  refuse_model("config.json", R"({"hidden_size": 64})", "error: ");
  refuse_model("config.json", config_json(R"("num_attention_heads": "four")"), "config.json:1:");
  refuse_model("config.json", config_json(R"("num_attention_heads": -4)"), "config.json:1:");
  refuse_model("config.json", config_json(R"("num_attention_heads": 1e400)"), "config.json:1:");
  refuse_model("config.json", config_json(R"("num_attention_heads": 4.5)"), "config.json:1:");
  refuse_model("config.json", R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1000000000, "vocab_size": 100, "num_attention_heads": 4})", "config.json:1:");
  refuse_model("config.json", "{\"model_type\": \"llama\", ", "config.json:1:");
  refuse_model("config.json", "[]", "config.json:1:1: error: ");
  refuse_model("config.json", "", "config.json:1:1: error: ");
  CHECK(has(program("import " + Scratch().write("config.json", "{}")).err, "error: "));
}

TEST_CASE("bad chip: figures that cannot be") {
  const Scratch folder;
  const std::string start = "chip: bad\nkind: gpu\ncompute: {vector: {kind: vector, peak: {fp32: 1 TFLOP/s}}}\n";
  const auto refuse_chip = [&](const std::string& text, const std::string& complaint) {
    const std::string chip = folder.write("bad.yaml", text);
    refuse(folder, "estimate --model gpt2 --batch 1 --context 8 --chip " + chip, complaint);
  };
  refuse_chip(start + "memory: [{level: HBM, capacity: 80 GB, bandwidth: -3 TB/s}]\n", "bad.yaml:4:");
  refuse_chip(start + "memory: [{level: HBM, capacity: 80 GB, bandwidth: 3 TB}]\n", "bad.yaml:4:");
  refuse_chip(start + "memory: [{level: HBM, capacity: 0 GB, bandwidth: 3 TB/s}]\n", "bad.yaml:4:");
  refuse_chip(start + "memory: []\n", "bad.yaml:4:");
  refuse_chip("chip: bad\nkind: gpu\ncompute: {}\nmemory: [{level: HBM, capacity: 80 GB, bandwidth: 3 TB/s}]\n", "bad.yaml:");
  refuse_chip("chip: bad\nkind: gpu\ncompute: {vector: {kind: vector, peak: {fp32: 0 TFLOP/s}}}\nmemory: [{level: HBM, capacity: 80 GB, bandwidth: 3 TB/s}]\n", "bad.yaml:3:");
  refuse_chip("chip: bad\nbase: bad.yaml\n", "builds on itself");
}

TEST_CASE("usage: exit code 2, nothing on standard output") {
  for (const std::string arguments :
       {"", "estmate x", "estimate", "estimate a b", "estimate llama-3.1-8b-decode-h100 --format xml", "estimate llama-3.1-8b-decode-h100 --set novalue",
        "estimate llama-3.1-8b-decode-h100 --set =2x", "estimate llama-3.1-8b-decode-h100 --nonsense", "estimate --model gpt2", "estimate --chip h100-sxm",
        "estimate --model gpt2 --chip h100-sxm --system dgx-h100 --batch 1 --context 8", "estimate llama-3.1-8b-decode-h100 --batch 8",
        "estimate llama-3.1-8b-decode-h100 --phase prefill", "estimate --model gpt2 --chip h100-sxm --phase training", "roofline", "explain llama-3.1-8b-decode-h100",
        "import", "show", "show h100-sxm --format dot", "list nonsense", "schema nonsense", "completion tcsh"}) {
    const Outcome o = program(arguments);
    CHECK_MESSAGE(o.code == 2, arguments, "\n", o.err);
    CHECK_MESSAGE(o.out.empty(), arguments);
    CHECK_MESSAGE(!o.err.empty(), arguments);
  }
}

TEST_CASE("environment: what cannot be written is exit code 4, and no half file stays") {
  const Scratch folder;
  for (const std::string verb : {"estimate llama-3.1-8b-decode-h100", "estimate llama-3.1-8b-decode-h100 --format json", "list chips", "schema run", "completion bash",
                                 "show h100-sxm", "import llama-3.1-8b", "roofline llama-3.1-8b-decode-h100", "explain llama-3.1-8b-decode-h100 llama-3.1-8b-decode-tpu-v5e"}) {
    const Outcome full = program(verb, "/dev/full");
    CHECK_MESSAGE(full.code == 4, verb, "\n", full.err);
    CHECK_MESSAGE(has(full.err, "cannot write standard output"), full.err);
  }
  const auto refused = [&](const std::string& arguments, const std::string& complaint) {
    const Outcome o = program(arguments);
    CHECK_MESSAGE(o.code == 4, arguments, "\n", o.err);
    CHECK_MESSAGE(has(o.err, complaint), o.err);
    CHECK(o.out.empty());
    CHECK(folder.files() == 0);
  };
  refused("roofline llama-3.1-8b-decode-h100 --html " + folder.path("missing/report.html"), "No such file or directory");
  refused("roofline llama-3.1-8b-decode-h100 --svg " + folder.path(""), "it is a directory");
  refused("import llama-3.1-8b -o " + folder.path("missing/model.yaml"), "No such file or directory");
}

TEST_CASE("environment: a device is written to, not replaced") {
  const Scratch folder;
  const Outcome full = program("roofline llama-3.1-8b-decode-h100 --svg /dev/full");
  CHECK_MESSAGE(full.code == 4, full.err);
  CHECK(std::filesystem::is_character_file("/dev/full"));
  CHECK_FALSE(std::filesystem::exists("/dev/full.part"));
  CHECK(program("import gpt2 -o /dev/null").code == 0);
  CHECK(std::filesystem::is_character_file("/dev/null"));
  // A link stays one, and its target gets the text.
  const std::string target = folder.write("target.yaml", "old");
  std::filesystem::create_symlink(target, folder.path("link.yaml"));
  CHECK(program("import gpt2 -o " + folder.path("link.yaml")).code == 0);
  CHECK(std::filesystem::is_symlink(folder.path("link.yaml")));
  CHECK(has(text_of(target), "model: gpt2"));
}

TEST_CASE("bad setting: the option is the place") {
  const Scratch folder;
  const std::string estimate = "estimate llama-3.1-8b-decode-h100 --set ";
  refuse(folder, estimate + "chip.memory.HMB.bandwidth=2x", "--set:1:1: error: ");
  refuse(folder, estimate + "chip.memory.HBM.bandwidth=fast", "--set:1:1: error: ");
  refuse(folder, estimate + "workload.batch=-1", "--set:1:1: error: ");
  refuse(folder, estimate + "workload.batch=[1", "--set:1:1: error: ");
  refuse(folder, estimate + "..=1", "--set:1:1: error: ");
  refuse(folder, estimate + "base=x", "--set:1:1: error: ");
  refuse(folder, "estimate --model gpt2 --chip h100-sxm --batch many --context 8", "--batch:1:1: error: ");
  refuse(folder, "estimate --model gpt2 --chip h100-sxm --batch 1", "error: workload of phase decode needs 'context'");
  refuse(folder, "estimate --model gpt22 --chip h100-sxm --batch 1 --context 8", "--model:1:1: error: ");
  refuse(folder, "estimate --model gpt2 --chip h100 --batch 1 --context 8", "--chip:1:1: error: ");
}
