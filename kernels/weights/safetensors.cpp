// The header is read by the strict JSON loader of base/; then every number in it is held against the file's size.
#include "kernels/weights/safetensors.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/load.hpp"
#include "kernels/numerics/formats.hpp"

namespace gambrel::kernels {
namespace {

constexpr std::size_t length_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  ///< as in the reference implementation
constexpr double largest_exact = 0x1p53;               ///< of the loader's numbers

struct StoredType {
  std::string_view name;
  std::uint64_t bits;
};
constexpr std::array stored_types = {StoredType{"BOOL", 8},    StoredType{"F4", 4},      StoredType{"U8", 8},
                                     StoredType{"I8", 8},      StoredType{"F8_E5M2", 8}, StoredType{"F8_E4M3", 8},
                                     StoredType{"F8_E8M0", 8}, StoredType{"I16", 16},    StoredType{"U16", 16},
                                     StoredType{"F16", 16},    StoredType{"BF16", 16},   StoredType{"I32", 32},
                                     StoredType{"U32", 32},    StoredType{"F32", 32},    StoredType{"I64", 64},
                                     StoredType{"U64", 64},    StoredType{"F64", 64}};

Diagnostic bad(const Position& at, std::string message, std::string hint = "") {
  return {at, std::move(message), std::move(hint), Fault::input};
}

Diagnostic bad_file(const std::string& path, std::string message, std::string hint = "") {
  return bad({std::make_shared<const Source>(Source{path, ""}), 0, 0}, std::move(message), std::move(hint));
}

/// A whole number from 0 to 2^53, which is beyond any file.
std::optional<std::uint64_t> natural(const Node& node) {
  if (!node.is_number() || node.number < 0 || node.number > largest_exact || node.number != std::floor(node.number))
    return {};
  return static_cast<std::uint64_t>(node.number);
}

std::optional<std::vector<std::uint64_t>> naturals(const Node* node) {
  if (!node || !node->is_sequence()) return {};
  std::vector<std::uint64_t> values;
  for (const Node& item : node->items) {
    const auto value = natural(item);
    if (!value) return {};
    values.push_back(*value);
  }
  return values;
}

/// Bytes of a tensor; nothing if they are not whole or beyond 64 bits.
std::optional<std::uint64_t> bytes_of(const std::vector<std::uint64_t>& shape, std::uint64_t bits) {
  std::uint64_t all = bits;
  for (std::uint64_t extent : shape)
    if (__builtin_mul_overflow(all, extent, &all)) return {};
  if (all % 8 != 0) return {};
  return all / 8;
}

/// Where a tensor lies in the data.
struct Entry {
  std::string name;
  Position at;
  StoredTensor tensor;
  std::uint64_t begin = 0, end = 0;
};

Result<Entry> read_entry(const Member& member, std::uint64_t data_size) {
  const Node& node = member.value;
  auto refuse = [&](std::string_view why, std::string hint = "") {
    return fail(bad(member.key_at, fmt::format("tensor '{}' {}", member.key, why), std::move(hint)));
  };
  const Node *dtype = node.find("dtype"), *shape = node.find("shape"), *offsets = node.find("data_offsets");
  if (!dtype || !dtype->is_string() || !shape || !offsets || node.members.size() != 3)
    return refuse("has not exactly dtype, shape and data_offsets");
  const auto type = std::ranges::find(stored_types, dtype->text, &StoredType::name);
  if (type == stored_types.end())
    return refuse(fmt::format("has an unknown dtype '{}'", dtype->text), "BF16, F16, F32, ...");
  const auto extents = naturals(shape), range = naturals(offsets);
  if (!extents) return refuse("has a shape that is not a list of whole numbers");
  if (!range || range->size() != 2 || (*range)[0] > (*range)[1])
    return refuse("has data_offsets that are not a begin and an end behind it");
  if ((*range)[1] > data_size)
    return refuse(fmt::format("ends at byte {} of {} bytes of data", (*range)[1], data_size),
                  "the file is cut off, or its header wrong");
  const auto bytes = bytes_of(*extents, type->bits);
  if (!bytes || *bytes != (*range)[1] - (*range)[0])
    return refuse(fmt::format("has {} bytes, which are not those of its shape and dtype", (*range)[1] - (*range)[0]));
  return Entry{member.key, member.key_at, {dtype->text, *extents, {}}, (*range)[0], (*range)[1]};
}

Diagnostics check_metadata(const Node& node) {
  const bool texts =
      node.is_mapping() && std::ranges::all_of(node.members, [](const Member& m) { return m.value.is_string(); });
  return texts ? Diagnostics{} : Diagnostics{bad(node.at, "__metadata__ is not a mapping of texts")};
}

/// Empty if the entries, put in the order of the data, lie end to end over all of it.
Diagnostics check_contiguous(std::vector<Entry>& entries, std::uint64_t data_size) {
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
  std::uint64_t at = 0;
  for (const Entry& entry : entries) {
    if (entry.begin < at) return {bad(entry.at, fmt::format("tensor '{}' overlaps the one before it", entry.name))};
    if (entry.begin > at)
      return {bad(entry.at, fmt::format("a hole of {} bytes before tensor '{}'", entry.begin - at, entry.name))};
    at = entry.end;
  }
  if (at == data_size) return {};
  const Position where = entries.empty() ? Position{} : entries.back().at;
  return {bad(where, fmt::format("{} bytes behind the last tensor", data_size - at),
              "the header does not belong to this file")};
}

Result<std::vector<Entry>> read_header(const std::string& path, std::span<const std::byte> file) {
  if (file.size() < length_bytes) return fail(bad_file(path, "is shorter than a safetensors header"));
  std::uint64_t length = 0;
  static_assert(std::endian::native == std::endian::little, "lengths and values are little endian");
  std::memcpy(&length, file.data(), length_bytes);
  if (length > longest_header || length > file.size() - length_bytes)
    return fail(bad_file(path, fmt::format("names a header of {} bytes in a file of {}", length, file.size()),
                         "a safetensors file starts with the length of its header"));
  std::string text(reinterpret_cast<const char*>(file.data()) + length_bytes, length);
  if (!text.starts_with('{')) return fail(bad_file(path, "has a header that is not a JSON object"));
  const auto header = parse_json(std::move(text), path, {.bytes = longest_header, .depth = 8, .values = 2'000'000});
  if (!header) return fail(header.error());
  const std::uint64_t data_size = file.size() - length_bytes - length;
  std::vector<Entry> entries;
  for (const Member& member : header->members) {
    if (member.key == "__metadata__") {
      if (Diagnostics problems = check_metadata(member.value); !problems.empty()) return fail(std::move(problems));
      continue;
    }
    auto entry = read_entry(member, data_size);
    if (!entry) return fail(entry.error());
    entries.push_back(std::move(*entry));
  }
  if (Diagnostics problems = check_contiguous(entries, data_size); !problems.empty()) return fail(std::move(problems));
  for (Entry& entry : entries)
    entry.tensor.bytes = file.subspan(length_bytes + length + entry.begin, entry.end - entry.begin);
  return entries;
}

/// Closes itself.
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

template <class F>
std::vector<float> converted(const StoredTensor& tensor, std::size_t size, F value) {
  std::vector<float> values(tensor.bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value(tensor.bytes.data() + i * size);
  return values;
}

template <class Code>
Code load(const std::byte* at) {
  Code code;
  std::memcpy(&code, at, sizeof code);
  return code;
}

}  // namespace

std::uint64_t StoredTensor::elements() const {
  std::uint64_t all = 1;
  for (std::uint64_t extent : shape) all *= extent;  // checked when the header was read
  return all;
}

Result<std::unique_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0)
    return fail(bad_file(path, "cannot be opened", std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) return fail(bad_file(path, "is not a file"));
  std::unique_ptr<SafetensorsFile> opened(new SafetensorsFile);
  opened->size_ = static_cast<std::size_t>(status.st_size);
  if (opened->size_ > 0) {
    void* mapped = ::mmap(nullptr, opened->size_, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (mapped == MAP_FAILED) return fail(bad_file(path, "cannot be mapped into memory", std::strerror(errno)));
    opened->mapped_ = mapped;
  }
  auto entries = read_header(path, {static_cast<const std::byte*>(opened->mapped_), opened->size_});
  if (!entries) return fail(entries.error());
  for (Entry& entry : *entries) opened->tensors_.emplace(std::move(entry.name), std::move(entry.tensor));
  return opened;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapped_) ::munmap(mapped_, size_);
}

bool has_values(const StoredTensor& tensor) {
  constexpr std::array known = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"};
  return std::ranges::find(known, tensor.dtype) != known.end();
}

std::vector<float> values_of(const StoredTensor& tensor) {
  auto small = [](const FloatLayout& layout) {
    return [layout](const std::byte* at) { return static_cast<float>(decode(load<std::uint8_t>(at), layout)); };
  };
  if (tensor.dtype == "F64")
    return converted(tensor, 8, [](const std::byte* at) { return static_cast<float>(load<double>(at)); });
  if (tensor.dtype == "F32") return converted(tensor, 4, load<float>);
  if (tensor.dtype == "BF16")
    return converted(tensor, 2, [](const std::byte* at) {
      return std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(at)) << 16);
    });
  if (tensor.dtype == "F16")
    return converted(tensor, 2, [](const std::byte* at) {
      return static_cast<float>(decode(load<std::uint16_t>(at), fp16_layout));
    });
  if (tensor.dtype == "F8_E4M3") return converted(tensor, 1, small(e4m3_layout));
  if (tensor.dtype == "F8_E5M2") return converted(tensor, 1, small(e5m2_layout));
  return {};
}

}  // namespace gambrel::kernels
