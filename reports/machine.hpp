// A machine as it was measured: its roofs, and what its kernels reach under them.
#pragma once

#include <string>

#include "sim/calibration/this_machine.hpp"

namespace gambrel::reports {

/// One offline file without a script: peaks and memory levels, the roofline as a drawing, a row a kernel.
/// `roofline`: sim::measured_roofline of the same machine.
std::string write_machine_html(const sim::MachineFigures& machine, const sim::Estimate& roofline);

}  // namespace gambrel::reports
