// gambrel calibrate --this-machine: measures, fits, writes a chip and its calibration.
#pragma once

#include <string>

#include "cli/verb.hpp"

namespace gambrel::cli {

struct ThisMachine {
  std::string out;            ///< configuration folder to write into; "": Catalog::writable()
  std::string svg, html;      ///< where to write the empirical roofline; "": nowhere
  bool quick = false;         ///< fewer sizes, in a third of the time
  double seconds = 0;         ///< of timing; 0: as long as it usually needs
  int threads = 1;
};
/// Exit code: `environment` if memory is short or a file cannot be written; `not_measurable` if a peak, a bandwidth or most
/// kernels gave no clean sample.
int calibrate_this_machine(const Session& session, const ThisMachine& wanted);

}  // namespace gambrel::cli
