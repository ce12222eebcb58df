// Inside sim/ only: the sections of a run file that concern several chips and training.
#pragma once

#include "sim/run.hpp"

namespace gambrel::sim {

/// `plan:` and `chips:`; the plan's product when no number of chips is given, and `data` what is left when one is.
/// Errors: meshes that do not multiply out, a plan that does not fit the model or the system.
Result<void> read_plan(const Node& document, Run& run);

/// The keys of `precision:` that only training has.
Result<void> read_training_precision(const Node& precision, models::TrainingPrecision& training);

}  // namespace gambrel::sim
