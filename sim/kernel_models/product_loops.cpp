#include "sim/kernel_models/product_loops.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace gambrel::sim {
namespace {

constexpr double lanes = 16, panel_columns = 64, registers = 32;

/// Rows of sums a pass keeps in registers: of those that the registers allow and whose x a first cache of 32 KiB holds
/// over a block of k, the ones with most products a load (oneDNN 2.6, brgemm_blocking: share of whole blocks times
/// r v / (r + v)).
double rows_of_sums(double rows, double vectors, double depth, double bytes) {
  constexpr double first_cache = 32768, single_most = 28;
  const double most = vectors == 1 ? single_most : std::floor((registers - 1 - vectors) / vectors);
  double best = 0, chosen = 1;
  for (double r = most; r >= 1; --r) {
    const double share = rows / (std::ceil(rows / r) * r) * r * vectors / (r + vectors);
    if (r * depth * bytes <= first_cache && share > best) best = share, chosen = r;
  }
  return chosen;
}

/// Columns of a panel: whole vectors together, what is left of one alone. Both use the rows that the vectors allow.
void add_panel(ProductLoops& loops, double columns, double panels, double rows, double blocks, double bytes) {
  const double vectors = std::floor(columns / lanes), widest = std::max(1.0, vectors);
  const double tall = rows_of_sums(rows, widest, loops.depth, bytes);
  const double whole = std::floor(rows / tall), rest = rows - whole * tall, passes = panels * blocks;
  const auto add = [&](double v) {
    loops.add({tall, v, passes * whole, whole > 0 ? passes : 0});
    if (rest > 0) loops.add({rest, v, passes, whole > 0 ? 0 : passes});
  };
  if (vectors > 0) add(vectors);
  if (columns > vectors * lanes) add(1);
}

ProductLoops over_panels(double m, double n, double k, double bytes) {
  constexpr double most_rows = 256, deep = 1024;
  ProductLoops loops{.sweeps = {}, .depth = std::min(k, k > deep ? deep : deep / 2)};
  const double rows = std::ceil(m / std::ceil(m / most_rows)), blocks = std::floor(m / rows), rest = m - blocks * rows;
  loops.row_blocks = blocks + (rest > 0 ? 1 : 0);
  const double panels = std::floor(n / panel_columns), columns = n - panels * panel_columns;
  for (const auto& [height, count] : {std::pair{rows, blocks}, std::pair{rest, rest > 0 ? 1.0 : 0.0}}) {
    if (count == 0) continue;
    if (panels > 0) add_panel(loops, panel_columns, panels, height, count, bytes);
    if (columns > 0) add_panel(loops, columns, 1, height, count, bytes);
  }
  return loops;
}

/// Columns that fill no vector are taken 8, 4, 2 and 1 at a time; rows 24 at a time, then in fours, two and one
/// (OpenBLAS 0.3.21, sgemm_kernel_16x4_skylakex).
ProductLoops over_packed(double m, double n, double k) {
  constexpr double most_rows = 24, deep = 448;
  ProductLoops loops{.sweeps = {}, .depth = std::min(k, deep), .in_panels = false};
  const double vectors = std::floor(n / lanes);
  const auto columns = static_cast<unsigned>(n - vectors * lanes), rest = static_cast<unsigned>(std::fmod(m, most_rows));
  const auto add_rows = [&](double count, bool narrow) {
    if (count == 0) return;
    loops.add({most_rows, 1, count * std::floor(m / most_rows), 0, narrow});
    for (const unsigned rows : {rest & ~3u, rest & 2u, rest & 1u})
      if (rows > 0) loops.add({static_cast<double>(rows), 1, count, 0, narrow});
  };
  add_rows(vectors, false);
  double pieces = 0;
  for (const unsigned width : {8u, 4u, 2u, 1u}) pieces += columns & width ? 1 : 0;
  add_rows(pieces, true);
  return loops;
}

}  // namespace

ProductLoops product_loops(bool in_panels, double m, double n, double k, double bytes) {
  return in_panels ? over_panels(m, n, k, bytes) : over_packed(m, n, k);
}

}  // namespace gambrel::sim
