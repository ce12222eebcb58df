// The step of several chips as an estimate tells it: where its time goes, what the network carries.
#pragma once

#include <string>

#include "base/quantity.hpp"

namespace gambrel::sim {

/// Where the time of a step goes on the busiest chip; the parts sum to the step's time, `overlap` comes beside it.
struct StepTimeline {
  Seconds compute{0};          ///< operators of the chip, the optimizer included
  Seconds exposed_network{0};  ///< waiting for collectives and neighbours
  Seconds bubble{0};           ///< idle in the pipeline
  Seconds overhead{0};         ///< of the host, a step
  Seconds overlap{0};          ///< collectives hidden behind operators
};

/// All executions of one collective by one chip and step.
struct NetworkUse {
  std::string collective, axis, level, algorithm;
  double ranks = 1, count = 1;
  Bytes bytes{0};              ///< of one execution
  Seconds time{0};             ///< of one execution
};

/// What a stage does when the last backward pass is over.
struct StageTail {
  double reduction = 0;   ///< seconds of collectives that nothing hides
  double optimizer = 0;
  double seconds() const { return reduction + optimizer; }
};

}  // namespace gambrel::sim
