// Inside sim/sweep/ only: figures of a design's own files, for expressions: chip.memory.HBM.capacity, workload.batch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/quantity.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

struct InputValue {
  double value = 0;      ///< base units
  Dimension dimension;
};

/// True if a name's first key is that of a file: chip, system, model, or a section of a run.
bool is_input(std::string_view path);

/// The number or quantity at `path` after the run's own `set:` and `settings`. Error (at `from`): there is no such key
/// ("did you mean"), or it is neither a number nor a quantity.
Result<InputValue> input_value(const Catalog& catalog, const Node& run, const std::vector<Setting>& settings, std::string_view path, const Position& from);

/// The document of the system or chip that a run names, and those of a system's chips ({itself} for a chip), as they are.
struct MachineDocuments {
  Node system;  ///< null: a single chip
  std::vector<Node> chips;
};
Result<MachineDocuments> machine_documents(const Catalog& catalog, const Node& run, const std::vector<Setting>& settings);

/// The run's own document with the settings of its own keys laid over, and all settings: its `set:` first.
struct SetRun {
  Node document;
  std::vector<Setting> settings;
};
Result<SetRun> set_run(const Node& run, const std::vector<Setting>& settings);

}  // namespace gambrel::sim
