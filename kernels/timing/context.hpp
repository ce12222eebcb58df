// Where a measurement was taken: machine, compiler, environment. What of it a baseline depends on is its fingerprint.
#pragma once

#include <string>
#include <vector>

#include "kernels/timing/measurement.hpp"

namespace gambrel::kernels {

/// "cpu" = "AMD EPYC". `decides`: other values would mean other times, so that it is part of the fingerprint. Clocks,
/// dates and host names are not: they change while the machine stays the same.
struct Fact {
  std::string name, value;
  bool decides = true;
};
using Context = std::vector<Fact>;

/// CPU model, family and arithmetic instructions, usable threads, page mode, compiler and flags, environment variables
/// that libraries obey (OPENBLAS_CORETYPE, OMP_*, ...); host, kernel, date and gambrel's version beside them.
Context this_context();

/// 32 hexadecimal digits: the deciding facts, and the kernel's library, selected code path, type, anchor and threads. CUDA's
/// and PoCL's variables count for kernels of those libraries only.
std::string fingerprint(const Context& context, const Measurement& measurement);

Node to_node(const Context& context);

/// "2026-11-22T09:31:07Z".
std::string utc_now();

}  // namespace gambrel::kernels
