// The loops of matrix products on processors: which passes over k an inner kernel makes, as two families of libraries do it.
#pragma once

#include <array>
#include <cstddef>

namespace gambrel::sim {

/// How a library goes through y[m,n] = x[m,k] W[n,k]^T.
enum class LoopNest {
  panels,         ///< W lies in panels of 64 columns beforehand; blocks of up to 256 rows pass over each
  copied_panels,  ///< the same, each panel is copied out of a plain W first, anew for each block of rows
  packed_unless_small,  ///< x and W are packed at each call (Goto & van de Geijn 2008), one register of columns at a time; what is
                        ///< small and deep is multiplied in place, along k
  packed                ///< the same, but always packed
};

/// Passes of the inner kernel over k that are alike. `rows` times `vectors` registers hold sums meanwhile.
struct Sweep {
  double rows = 1, vectors = 1;
  double count = 0;    ///< of such passes
  double first = 0;    ///< those of them that are the first over a panel of W: it comes from where W lies
  bool narrow = false; ///< less than a whole vector of columns
};

struct ProductLoops {
  std::array<Sweep, 20> sweeps;
  std::size_t size = 0;
  double depth = 1;       ///< of a block of k, elements
  double row_blocks = 1;  ///< how often the panels of W are gone through
  bool in_panels = true;  ///< 64 columns of W after each other, else all of them

  void add(const Sweep& sweep) { if (sweep.count > 0) sweeps[size++] = sweep; }
  const Sweep* begin() const { return sweeps.data(); }
  const Sweep* end() const { return sweeps.data() + size; }
};

/// `bytes`: of an element of x. Sizes are those of 512-bit registers (32 of them, 16 sums each), which is what the rules
/// were read and measured on; on CPUs with others the fitted constants take up the difference.
ProductLoops product_loops(bool in_panels, double m, double n, double k, double bytes);

}  // namespace gambrel::sim
