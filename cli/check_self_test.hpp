// Does the gate on this machine do what it promises? False alarms on identical code, and slowdowns that it finds.
#pragma once

#include <string>
#include <vector>

#include "cli/verb.hpp"
#include "kernels/timing/gate.hpp"

namespace gambrel::cli {

struct SelfTest {
  std::vector<std::string> names;  ///< a short suite; the first, a compute kernel, is the one that is slowed down
  kernels::Command worker;         ///< measures in a fresh process
  int runs = 100;                  ///< of each of the four: idle and with hogs, as it is and slowed down
  double slowdown = 1.10;
  int hogs = 2;                    ///< threads that take CPU time from the gate
};

/// Prints what was found with its 95 % intervals; `check_failed` where a goal (at most 1 false alarm in 100, at least 95 of
/// 100 slowdowns found) is missed.
int self_test(const Session& session, const SelfTest& test, kernels::GateOptions options);

}  // namespace gambrel::cli
