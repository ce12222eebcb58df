// Registering kernels, and measuring them in processes of their own.
#include "kernels/timing/gate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/load.hpp"
#include "kernels/timing/names.hpp"

namespace gambrel::kernels {
namespace {

/// Names the file in which a worker finds the kernels to measure, and beside which it leaves what it measured.
constexpr const char* worker_variable = "GAMBREL_GATE_WORKER";
constexpr std::string_view answer_suffix = ".out";

constexpr LoadLimits own_files{.bytes = 512u << 20, .depth = 8, .values = 50'000'000};

class Function final : public Call {
 public:
  explicit Function(std::function<void()> function) : function_(std::move(function)) {}
  void run() override { function_(); }

 private:
  std::function<void()> function_;
};

/// A pair of files that are gone when it ends.
class Exchange {
 public:
  explicit Exchange(std::string path) : path_(std::move(path)) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
    std::filesystem::remove(answer(), ignored);
  }
  const std::string& path() const { return path_; }
  std::string answer() const { return path_ + std::string(answer_suffix); }

 private:
  std::string path_;
};

Diagnostic no_exchange(const std::string& path) {
  return {{}, fmt::format("cannot write '{}' for a fresh process", path), "check the folder for temporary files and its free space", Fault::environment};
}

bool write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return !file.fail();
}

std::string request_of(const std::vector<std::string>& names) {
  Node request = Node::mapping();
  Node& list = request.set("names", Node::sequence());
  for (const std::string& name : names) list.append(Node::of(name));
  return to_json(request, 0);
}

Result<std::vector<Measurement>> answer_of(const Exchange& exchange, const Command& command, int code) {
  if (!std::filesystem::exists(exchange.answer()))
    return fail(Diagnostic{{}, fmt::format("'{}' ended with {} and measured nothing", command.arguments.front(), code), "its own messages stand above", Fault::environment});
  return read_text(exchange.answer(), own_files.bytes)
      .and_then([&](std::string text) { return parse_json(std::move(text), exchange.answer(), own_files); })
      .and_then([](const Node& document) { return read_measurements(document); });
}

/// What a worker does instead of the gate.
Result<GateReport> work(const std::string& request, const Gate& gate, const GateOptions& options) {
  const auto document = read_text(request, own_files.bytes).and_then([&](std::string text) { return parse_json(std::move(text), request, own_files); });
  if (!document) return fail(document.error());
  std::set<std::string> names;
  if (const Node* list = document->find("names"))
    for (const Node& name : list->items) names.insert(name.text);
  auto wanted = gate.matching(options.filter);
  if (!wanted) return fail(std::move(wanted.error()));
  if (!names.empty()) std::erase_if(*wanted, [&](const KernelCase& one) { return !names.contains(one.name()); });
  if (!write(request + std::string(answer_suffix), to_json(to_node(sample(*wanted, options.sampling)), 0))) return fail(no_exchange(request));
  GateReport report;
  report.worker = true;
  return report;
}

}  // namespace

Gate& Gate::add(KernelCase kernel) {
  cases_.push_back(std::move(kernel));
  return *this;
}

Gate& Gate::add(const std::string& name, double flops, double bytes, Anchor anchor, std::function<void()> function) {
  const bool memory = anchor == Anchor::read || anchor == Anchor::copy || anchor == Anchor::triad;
  return add({.kernel = name,
              .type = "f32",
              .version = "own",
              .flops = flops,
              .bytes = bytes,
              .working_set = memory ? bytes : 0,
              .anchor = anchor,
              .gate = true,
              .prepare = [function = std::move(function)] { return std::make_unique<Function>(function); }});
}

Result<std::vector<KernelCase>> Gate::matching(const std::string& filter) const {
  std::vector<KernelCase> found;
  const auto expression = name_expression(filter);
  if (!expression) return fail(expression.error());
  std::set<std::string> names;
  for (const KernelCase& one : cases_) {
    const std::string name = one.name();
    if (!names.insert(name).second) return fail(Diagnostic{{}, fmt::format("kernel '{}' is there twice", name), "give each a name, a version or a size of its own", Fault::usage});
    if (std::regex_search(name, *expression)) found.push_back(one);
  }
  if (!found.empty()) return found;
  return fail(Diagnostic{{}, fmt::format("no kernel's name contains '{}'", filter), hint_for(filter, {names.begin(), names.end()}), Fault::usage});
}

Result<GateReport> Gate::run(const GateOptions& options) const {
  if (const char* request = std::getenv(worker_variable)) return work(request, *this, options);
  const auto cases = matching(options.filter);
  if (!cases) return fail(cases.error());
  auto command = this_command();
  if (!command) return fail(std::move(command.error()));
  command->stop = options.stop;
  std::vector<std::string> all;
  for (const KernelCase& one : cases_) all.push_back(one.name());
  if (auto fitting = check_minima(options.minimum, all); !fitting) return fail(std::move(fitting.error()));
  auto store = MeasurementStore::open(options.database);
  if (!store) return fail(std::move(store.error()));
  std::vector<std::string> names;
  for (const KernelCase& one : *cases) names.push_back(one.name());
  return run_gate(names, in_fresh_process(std::move(*command)), *store, options);
}

Measure in_fresh_process(Command command) {
  return [command = std::move(command)](const std::vector<std::string>& names) -> Result<std::vector<Measurement>> {
    auto file = temporary_file("gambrel-gate");
    if (!file) return fail(std::move(file.error()));
    const Exchange exchange(std::move(*file));
    if (!write(exchange.path(), request_of(names))) return fail(no_exchange(exchange.path()));
    Command worker = command;
    worker.environment.emplace_back(worker_variable, exchange.path());
    const auto finished = kernels::run(worker);
    if (!finished) return fail(finished.error());
    return answer_of(exchange, worker, finished->code);
  };
}

}  // namespace gambrel::kernels
