// Checkpoints: headers that lie are refused, values are read by type, and a written model is measured as it was written.
#include "kernels/weights/safetensors.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/numerical_error/numerical_error.hpp"
#include "kernels/weights/synthetic_weights.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using namespace gambrel::kernels;

namespace {

/// A directory that goes away with its test.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("gambrel-safetensors-{}", ::getpid());
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return (path / name).string();
  }
};

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}
std::string file_of(const std::string& header, const std::string& data) {
  return with_length(header.size(), header + data);
}

std::string refusal(const std::string& bytes) {
  const Folder folder;
  const auto opened = SafetensorsFile::open(folder.write("x.safetensors", bytes));
  return opened ? "" : opened.error().front().message;
}

/// Bytes of floats as bf16 (cut) or F32.
std::string stored(const std::vector<float>& values, bool half) {
  std::string bytes;
  for (float value : values) {
    char raw[4];
    std::memcpy(raw, &value, 4);
    bytes.append(half ? raw + 2 : raw, half ? 2 : 4);
  }
  return bytes;
}

/// Tensors one after the other, as a file.
class Writer {
 public:
  void add(const std::string& name, const std::vector<std::size_t>& shape, const std::vector<float>& values,
           bool half = true) {
    const std::string bytes = stored(values, half);
    header_ += fmt::format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                           header_.empty() ? "{" : ",", name, half ? "BF16" : "F32", fmt::join(shape, ","),
                           data_.size(), data_.size() + bytes.size());
    data_ += bytes;
  }
  std::string file() const { return file_of(header_ + "}", data_); }

 private:
  std::string header_, data_;
};

ModelConfig llama() {
  ModelConfig model = model_of(
      "hidden: 32\nvocab: 40\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 8}\n    ffn: {kind: dense, inner: 48, activation: swiglu}\n");
  model.family = "llama";
  return model;
}

std::vector<float> rows(const std::vector<float>& all, std::size_t width, std::size_t first, std::size_t count) {
  return {all.begin() + static_cast<std::ptrdiff_t>(first * width),
          all.begin() + static_cast<std::ptrdiff_t>((first + count) * width)};
}

/// llama() with synthetic weights, under Hugging Face's names. Layers `from` to `to`, both ends if `ends`.
std::string written_llama(bool ends, int from, int to) {
  const SyntheticWeights weights({}, 0);
  Writer writer;
  auto matrix = [&](const std::string& ours, std::size_t width, std::size_t elements) {
    return *weights.whole(ours, width, elements);
  };
  if (ends) {
    writer.add("model.embed_tokens.weight", {40, 32}, matrix("embed.table", 32, 40 * 32));
    writer.add("lm_head.weight", {40, 32}, matrix("lm_head.weight", 32, 40 * 32));
    writer.add("model.norm.weight", {32}, std::vector<float>(32, 1.0F));
  }
  for (int i = from; i < to; ++i) {
    const std::string ours = fmt::format("layers.{}.", i), theirs = fmt::format("model.layers.{}.", i);
    const auto qkv = matrix(ours + "attn.qkv.weight", 32, 64 * 32),
               up = matrix(ours + "mlp.gate_up.weight", 32, 96 * 32);
    writer.add(theirs + "self_attn.q_proj.weight", {32, 32}, rows(qkv, 32, 0, 32));
    writer.add(theirs + "self_attn.k_proj.weight", {16, 32}, rows(qkv, 32, 32, 16));
    writer.add(theirs + "self_attn.v_proj.weight", {16, 32}, rows(qkv, 32, 48, 16));
    writer.add(theirs + "self_attn.o_proj.weight", {32, 32}, matrix(ours + "attn.out.weight", 32, 32 * 32));
    writer.add(theirs + "mlp.gate_proj.weight", {48, 32}, rows(up, 32, 0, 48));
    writer.add(theirs + "mlp.up_proj.weight", {48, 32}, rows(up, 32, 48, 48));
    writer.add(theirs + "mlp.down_proj.weight", {32, 48}, matrix(ours + "mlp.down.weight", 48, 32 * 48));
    writer.add(theirs + "input_layernorm.weight", {32}, matrix(ours + "attn.norm.gain", 1, 32), false);
    writer.add(theirs + "post_attention_layernorm.weight", {32}, matrix(ours + "mlp.norm.gain", 1, 32), false);
  }
  return writer.file();
}

ErrorVariant fp8() {
  return {.name = "fp8",
          .precision = {.all = {.weights = DataType(Format::fp8_e4m3), .activations = DataType(Format::fp8_e4m3)}}};
}

std::string measure_refusal(const ModelConfig& model, const std::string& path) {
  const auto report = measure_error(model, fp8(), {.tokens = 4, .weights_file = path});
  return report ? "" : report.error().front().message;
}

}  // namespace

TEST_CASE("safetensors: headers that lie are refused, each for its reason") {
  const std::string two =
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[)";
  struct Row {
    std::string bytes, why;
  };
  for (
      const Row& row : {
          Row{"", "is shorter than a safetensors header"},
          Row{"1234567", "is shorter than a safetensors header"},
          Row{with_length(5, "{}"), "names a header of 5 bytes in a file of 10"},
          Row{with_length(~0ULL, "{}"), "names a header of 18446744073709551615 bytes in a file of 10"},
          Row{file_of("[]", ""), "has a header that is not a JSON object"},
          Row{file_of(" {}", ""), "has a header that is not a JSON object"},
          Row{file_of(R"({"a":3})", ""), "tensor 'a' has not exactly dtype, shape and data_offsets"},
          Row{file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", "x"),
              "tensor 'a' has not exactly dtype, shape and data_offsets"},
          Row{file_of(R"({"a":{"dtype":"F12","shape":[1],"data_offsets":[0,1]}})", "x"),
              "tensor 'a' has an unknown dtype 'F12'"},
          Row{file_of(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", "x"),
              "tensor 'a' has a shape that is not a list of whole numbers"},
          Row{file_of(R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", "x"),
              "tensor 'a' has a shape that is not a list of whole numbers"},
          Row{file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", "x"),
              "tensor 'a' has data_offsets that are not a begin and an end behind it"},
          Row{file_of(R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", "x"),
              "tensor 'a' ends at byte 9 of 1 bytes of data"},
          Row{file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}})", "xx"),
              "tensor 'a' has 2 bytes, which are not those of its shape and dtype"},
          Row{file_of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", ""),
              "tensor 'a' has 0 bytes, which are not those of its shape and dtype"},
          Row{file_of(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "xx"),
              "tensor 'a' has 2 bytes, which are not those of its shape and dtype"},
          Row{file_of(two + "1,3]}}", "xyz"), "tensor 'b' overlaps the one before it"},
          Row{file_of(two + "3,5]}}", "vwxyz"), "a hole of 1 bytes before tensor 'b'"},
          Row{file_of(two + "2,4]}}", "vwxyz"), "1 bytes behind the last tensor"},
          Row{file_of(
                  R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                  "xy"),
              "duplicate key 'a'"},
          Row{file_of(R"({"__metadata__":{"format":1}})", ""), "__metadata__ is not a mapping of texts"},
          Row{file_of("{}", "x"), "1 bytes behind the last tensor"},
      })
    CHECK_MESSAGE(refusal(row.bytes).find(row.why) != std::string::npos, row.why, " | ", refusal(row.bytes));
  CHECK(refusal(file_of("{", "")) != "");
  CHECK(refusal(file_of(R"({"a":{"dtype":"U8","shape":[)" + std::string(100, '['), "")) != "");
  CHECK_FALSE(SafetensorsFile::open("/no/such/file").has_value());
  CHECK(SafetensorsFile::open("/").error().front().message == "is not a file");
}

TEST_CASE("safetensors: what is well formed is read, empty tensors, padding, scalars and metadata too") {
  CHECK(refusal(file_of("{}", "")) == "");
  CHECK(
      refusal(file_of(
          R"({"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[0,7],"data_offsets":[0,0]},"b":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}   )",
          "xy")) == "");
  const Folder folder;
  const auto file = SafetensorsFile::open(folder.write(
      "v.safetensors",
      file_of(
          R"({"half":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"eight":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[4,6]},"wide":{"dtype":"F64","shape":[1],"data_offsets":[6,14]},"whole":{"dtype":"I8","shape":[1],"data_offsets":[14,15]},"brain":{"dtype":"BF16","shape":[1],"data_offsets":[15,17]}})",
          std::string("\x00\x3C\x00\xC0\x38\x7F\x00\x00\x00\x00\x00\x00\xF8\x3F\x05\xC0\x7F", 17))));
  REQUIRE_MESSAGE(file.has_value(), complaints(file ? Diagnostics{} : file.error()));
  auto values = [&](const char* name) { return values_of((*file)->tensors().at(name)); };
  CHECK(values("half") == std::vector<float>{1, -2});
  CHECK(values("eight")[0] == 1);
  CHECK(std::isnan(values("eight")[1]));
  CHECK(values("wide") == std::vector<float>{1.5});
  CHECK(std::isnan(values("brain")[0]));
  CHECK_FALSE(has_values((*file)->tensors().at("whole")));
}

TEST_CASE("laws: a damaged header is read or refused, never more") {
  const std::string good = written_llama(true, 0, 1);
  std::uint64_t length = 0;
  std::memcpy(&length, good.data(), 8);
  rc::check([&] {
    std::string bad = good;
    for (int i = *rc::gen::inRange(1, 4); i > 0; --i)
      bad[*rc::gen::inRange<std::size_t>(0, 8 + length)] = static_cast<char>(*rc::gen::inRange(0, 256));
    if (*rc::gen::inRange(0, 4) == 0) bad.resize(*rc::gen::inRange<std::size_t>(0, bad.size()));
    const Folder folder;
    const auto opened = SafetensorsFile::open(folder.write("x.safetensors", bad));
    if (!opened) return;
    for (const auto& [name, tensor] : (*opened)->tensors()) {
      RC_ASSERT(tensor.bytes.size() < bad.size());
      values_of(tensor);
    }
  });
}

TEST_CASE("safetensors: a checkpoint is measured as real weights, in one file or in shards") {
  const Folder folder;
  const std::string one = folder.write("model.safetensors", written_llama(true, 0, 2));
  const auto whole = measure_error(llama(), fp8(), {.tokens = 6, .weights_file = one});
  REQUIRE_MESSAGE(whole.has_value(), complaints(whole ? Diagnostics{} : whole.error()));
  CHECK(whole->real_weights);
  CHECK(whole->weights.starts_with("real: "));
  CHECK(whole->weights.ends_with("(no config.json beside it: rotary base 10000, epsilon 1e-5)"));
  CHECK(whole->layers == 2);
  CHECK(whole->vocabulary_rows == 40);
  // The same weights drawn: only the gain of the last norm, which the file has as 1, differs.
  const auto drawn = measure_error(llama(), fp8(), {.layers = 2, .width_fraction = 1.0, .tokens = 6});
  REQUIRE(drawn.has_value());
  for (std::size_t i = 0; i + 2 < whole->operators.size(); ++i)
    CHECK_MESSAGE(whole->operators[i].relative_error == drawn->operators[i].relative_error, whole->operators[i].name);

  folder.write("a.safetensors", written_llama(true, 0, 1));
  folder.write("b.safetensors", written_llama(false, 1, 2));
  folder.write("config.json", R"({"rope_theta": 500000.0, "rms_norm_eps": 1e-6, "rope_scaling": {"factor": 8.0}})");
  const std::string index = folder.write(
      "model.safetensors.index.json", R"({"weight_map": {"lm_head.weight": "a.safetensors", "x": "b.safetensors"}})");
  const auto shards = measure_error(llama(), fp8(), {.tokens = 6, .weights_file = index});
  REQUIRE_MESSAGE(shards.has_value(), complaints(shards ? Diagnostics{} : shards.error()));
  CHECK(shards->weights.ends_with("(its rope_scaling is not executed)"));
  CHECK(std::abs(shards->sqnr_db - whole->sqnr_db) < 2);
  CHECK(shards->relative_error != whole->relative_error);  // another rotary base
}

TEST_CASE("safetensors: what does not fit the model is refused") {
  const Folder folder;
  const std::string part = folder.write("part.safetensors", written_llama(true, 0, 1)),
                    all = folder.write("all.safetensors", written_llama(true, 0, 2));
  CHECK(measure_refusal(llama(), part).starts_with("the checkpoint has no tensor 'model.layers.1."));
  ModelConfig other = llama();
  other.family = "gpt2";
  CHECK(measure_refusal(other, all) == "checkpoints of family 'gpt2' cannot be read");
  ModelConfig wide = llama();
  wide.hidden = 64;
  CHECK(measure_refusal(wide, all).find("elements in rows of 32, the model") != std::string::npos);
  CHECK(measure_refusal(llama(), (folder.path / "none.safetensors").string()) == "cannot be opened");
  CHECK(measure_refusal(llama(), folder.write("i.json", R"({"weight_map": {"a": "../all.safetensors"}})"))
            .starts_with("shard '../all.safetensors' is not the name"));
  CHECK(measure_refusal(llama(), folder.write("j.json", "{}")) == "has no weight_map");
  folder.write("copy.safetensors", written_llama(true, 0, 2));
  CHECK(measure_refusal(llama(),
                        folder.write("k.json", R"({"weight_map": {"a": "all.safetensors", "b": "copy.safetensors"}})"))
            .ends_with("is in two shards"));
}
