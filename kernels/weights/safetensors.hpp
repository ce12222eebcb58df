// Checkpoints in the safetensors format: a small reader of our own that trusts nothing in the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "kernels/weights/weights.hpp"
#include "models/model_config.hpp"

namespace gambrel::kernels {

/// A tensor as the header says it is: its bytes are those of its type and shape.
struct StoredTensor {
  std::string dtype;  ///< "BF16", as written
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;  ///< mapped, little endian, row-major
  std::uint64_t elements() const;
};

/// One mapped file (huggingface/safetensors, README "Format"): 8 bytes of header length N, N bytes of JSON, data. Errors, each with
/// the tensor's name: no file; N beyond the file or 100 MB; what is not a JSON object of {dtype, shape, data_offsets} (besides
/// __metadata__); a name twice; an unknown dtype; offsets that are not those of shape and dtype, overlap, leave a hole or end beyond
/// the file; bytes behind the last tensor. NaN in the data is data.
class SafetensorsFile {
 public:
  static Result<std::unique_ptr<SafetensorsFile>> open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }

 private:
  SafetensorsFile() = default;
  void* mapped_ = nullptr;
  std::size_t size_ = 0;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
};

/// F64, F32, F16, BF16, F8_E4M3 and F8_E5M2: what there are floats for.
bool has_values(const StoredTensor& tensor);
/// Those floats; none of another type.
std::vector<float> values_of(const StoredTensor& tensor);

/// All shards of a model, and what its config.json beside them says that a ModelConfig does not hold.
class Checkpoint {
 public:
  const StoredTensor* find(std::string_view name) const;
  double rotary_base() const { return rotary_base_; }
  double norm_epsilon() const { return norm_epsilon_; }
  bool normalise_top_k() const { return normalise_top_k_; }
  /// What of the checkpoint is not as its authors run it; may be empty.
  const std::string& notes() const { return notes_; }

 private:
  friend Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path);
  Diagnostics read_config(const std::string& path);
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::string notes_;
  double rotary_base_ = 10000, norm_epsilon_ = 1e-5;
  bool normalise_top_k_ = true;
};

/// `path`: a .safetensors file, or a model.safetensors.index.json whose shards lie beside it (names without directories).
Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path);

/// The checkpoint's tensors under our names, for a copy whose layer j is the model's layer `layers[j]` and whose vocabulary are rows
/// spread evenly over the model's. Query, key and value matrices become one, gates and what they gate become one, experts one
/// after the other. Families: those built like Llama (llama, mistral, qwen2, qwen3, phi3 and the mixtures mixtral, qwen2_moe,
/// qwen3_moe). The checkpoint outlives what is returned. Errors: another family, a tensor that is missing or not of the model's shape, a type without values.
Result<std::unique_ptr<WeightSource>> map_checkpoint(const Checkpoint& checkpoint, const models::ModelConfig& model,
                                                     const models::ModelConfig& copy, const std::vector<int>& layers);

}  // namespace gambrel::kernels
