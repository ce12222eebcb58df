#include "kernels/timing/context.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>

#include "base/text.hpp"
#include "base/version.hpp"

namespace gambrel::kernels {
namespace {

std::string first_line(const char* path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  return line;
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  return first == text.npos ? "" : text.substr(first, last - first + 1);
}

/// /proc/cpuinfo of the first CPU: key -> value.
std::map<std::string, std::string> cpu_info() {
  std::map<std::string, std::string> info;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();)
    if (const std::size_t colon = line.find(':'); colon != line.npos)
      info.emplace(trimmed(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
  return info;
}

/// Of the CPU's flags those that name arithmetic; the others change with kernels and hypervisors.
std::string arithmetic_flags(const std::string& flags) {
  static constexpr std::string_view families[]{"sse", "avx", "fma", "f16c", "amx", "bmi", "asimd", "fphp", "sve", "i8mm", "bf16"};
  std::vector<std::string> kept;
  std::istringstream words(flags);
  for (std::string word; words >> word;)
    if (std::ranges::any_of(families, [&](std::string_view family) { return word.starts_with(family); })) kept.push_back(word);
  std::ranges::sort(kept);
  return fmt::format("{}", fmt::join(kept, " "));
}

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/// "always [madvise] never" -> "madvise".
std::string page_mode() {
  const std::string modes = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const std::size_t open = modes.find('['), close = modes.find(']');
  return open == modes.npos || close == modes.npos ? modes : modes.substr(open + 1, close - open - 1);
}

/// Variables that a numeric library, its threads or the memory allocator obey. Where CUDA's compiler is, no kernel obeys.
bool matters(std::string_view variable) {
  if (variable.starts_with("CUDA_HOME=") || variable.starts_with("CUDA_PATH=")) return false;
  static constexpr std::string_view families[]{"OPENBLAS_", "GOTO_", "BLIS_", "MKL_",   "DNNL_",   "ONEDNN_",  "OMP_",         "GOMP_",
                                               "KMP_",      "POCL_", "CUDA_", "CUBLAS", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "GAMBREL_VECTORS"};
  return std::ranges::any_of(families, [&](std::string_view family) { return variable.starts_with(family); });
}

/// A device's variables say nothing about kernels of the CPU.
bool decides(const Fact& fact, const Measurement& measurement) {
  constexpr std::pair<std::string_view, std::string_view> devices[]{{"environment.CUDA_", "CUDA"}, {"environment.CUBLAS", "CUDA"}, {"environment.POCL_", "OpenCL"}};
  for (const auto& [variable, library] : devices)
    if (fact.name.starts_with(variable) && !measurement.library.starts_with(library)) return false;
  return fact.decides;
}

void add_environment(Context& context) {
  std::vector<std::string> set;
  for (char** variable = environ; variable && *variable; ++variable)
    if (matters(*variable)) set.emplace_back(*variable);
  std::ranges::sort(set);
  for (const std::string& variable : set) {
    const std::size_t equals = variable.find('=');
    context.push_back({"environment." + variable.substr(0, equals), variable.substr(equals + 1)});
  }
}

}  // namespace

Context this_context() {
  const auto cpu = cpu_info();
  const auto of_cpu = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys)
      if (const auto found = cpu.find(key); found != cpu.end()) return found->second;
    return std::string();
  };
  utsname system{};
  uname(&system);
  Context context{{"cpu", of_cpu({"model name", "CPU implementer"})},
                  {"cpu.family", of_cpu({"cpu family", "CPU architecture"})},
                  {"cpu.model", of_cpu({"model", "CPU part"})},
                  {"cpu.instructions", arithmetic_flags(of_cpu({"flags", "Features"}))},
                  {"threads", fmt::format("{}", usable_threads())},
                  {"pages", page_mode()},
                  {"compiler", __VERSION__},
                  {"compiler.flags", trimmed(GAMBREL_FLAGS)}};
  add_environment(context);
  context.push_back({"host", system.nodename, false});
  context.push_back({"system", fmt::format("{} {}", system.sysname, system.release), false});
  context.push_back({"gambrel", std::string(version()), false});
  context.push_back({"date", utc_now(), false});
  return context;
}

std::string fingerprint(const Context& context, const Measurement& measurement) {
  // Lengths before the texts, so that no two lists of facts give one text.
  std::string text;
  const auto add = [&](std::string_view part) { text += fmt::format("{}:{}", part.size(), part); };
  for (const Fact& fact : context)
    if (decides(fact, measurement)) add(fact.name), add(fact.value);
  for (const std::string* part : {&measurement.library, &measurement.selected, &measurement.type, &measurement.anchor}) add(*part);
  add(fmt::format("{}", measurement.threads));
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

Node to_node(const Context& context) {
  Node node = Node::mapping();
  for (const Fact& fact : context) node.set(fact.name, Node::of(printable(fact.value)));
  return node;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace gambrel::kernels
