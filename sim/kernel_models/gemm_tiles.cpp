// Enumeration of GEMM tilings; sim/kernel_models/gemm_model.cpp evaluates them.
#include <algorithm>

#include "sim/kernel_models/gemm_model.hpp"

namespace gambrel::sim {
namespace {

struct TileSize {
  double rows, columns;
};

/// One row of x against 64 of W is a matrix-vector kernel, for m = 1 only. Both lists were chosen on measurements (an
/// A100's and an H100's), not read from a library.
constexpr std::array<TileSize, 8> few_tiles{{{1, 64}, {64, 64}, {64, 128}, {128, 64}, {128, 128}, {128, 256}, {256, 128}, {256, 64}}};
constexpr std::array<TileSize, most_tiles> many_tiles{{{1, 64}, {16, 64}, {16, 128}, {32, 64}, {32, 128}, {64, 64}, {64, 128}, {96, 64},
                                                       {96, 128}, {128, 64}, {128, 128}, {136, 64}, {136, 128}, {160, 64}, {160, 128}, {192, 64},
                                                       {192, 128}, {256, 64}, {256, 128}, {128, 256}, {64, 256}, {128, 192}, {64, 192}}};

struct Parts {
  double parts, log2;
};
constexpr std::array<Parts, 7> few_tiles_parts{{{1, 0}, {2, 1}, {3, 1.5849625007211562}, {4, 2}, {6, 2.584962500721156}, {8, 3}, {12, 3.584962500721156}}};
constexpr std::array<Parts, 4> many_tiles_parts{{{1, 0}, {2, 1}, {4, 2}, {8, 3}}};
static_assert(few_tiles.size() * few_tiles_parts.size() <= most_splits && many_tiles.size() * many_tiles_parts.size() <= most_splits);

/// Newton's, since std::sqrt is no constant expression in C++20.
constexpr double root(double x) {
  double r = x;
  for (int i = 0; i < 40; ++i) r = (r + x / r) / 2;
  return r;
}

template <std::size_t Count>
constexpr std::array<double, Count> smallness_of(const std::array<TileSize, Count>& tiles) {
  std::array<double, Count> result{};
  for (std::size_t i = 0; i < Count; ++i) result[i] = std::max(0.0, 181 / root(std::max(tiles[i].rows, 64.0) * tiles[i].columns) - 1);
  return result;
}
constexpr auto few_smallness = smallness_of(few_tiles);
constexpr auto many_smallness = smallness_of(many_tiles);

GemmTile tile_of(const GemmShape& shape, TileSize size, double smallness, int first) {
  const double row_blocks = round_up(shape.m / size.rows);
  return {.rows = size.rows, .columns = size.columns, .used_rows = std::min(size.rows, shape.m), .used_columns = std::min(size.columns, shape.n),
          .row_blocks = row_blocks, .blocks = row_blocks * round_up(shape.n / size.columns), .smallness = smallness, .first = first, .last = first + 1};
}

GemmSplit split_of(const GemmTile& tile, Parts parts, double steps, double cores) {
  const double units = tile.blocks * parts.parts, work = std::max(1.0, units / cores), rounds = round_up(work);
  return {.parts = parts.parts, .log2_parts = parts.log2, .steps = round_up(steps / parts.parts), .units = units, .rounds = rounds, .filled = work / rounds};
}

/// No library splits k to less than two steps or where the tiles alone fill the cores twice, nor takes tiles below
/// 128 x 128 for more than a dozen rounds.
template <std::size_t TileCount, std::size_t PartsCount>
void enumerate(const GemmShape& shape, double cores, const std::array<TileSize, TileCount>& tiles, const std::array<double, TileCount>& smallness,
               const std::array<Parts, PartsCount>& all_parts, Tilings& out) {
  const double steps = round_up(shape.k / shape.depth);
  int tile_count = 0, split_count = 0;
  for (std::size_t i = 0; i < TileCount; ++i) {
    const TileSize size = tiles[i];
    if (size.rows == 1 && shape.m > 1) continue;
    GemmTile tile = tile_of(shape, size, smallness[i], split_count);
    if (size.rows * size.columns < 128 * 128 && tile.blocks > 12 * cores) continue;
    const std::size_t most = tile.blocks > 2 * cores ? 1 : PartsCount;
    for (std::size_t p = 0; p < most; ++p) {
      if (p > 0 && 2 * all_parts[p].parts > steps) break;
      out.splits[static_cast<std::size_t>(split_count++)] = split_of(tile, all_parts[p], steps, cores);
    }
    tile.last = split_count;
    out.tiles[static_cast<std::size_t>(tile_count++)] = tile;
  }
  out.tile_count = tile_count;
  out.split_count = split_count;
}

}  // namespace

std::array<double, 2> rule_tile(double m, double n, double cores) {
  const bool swapped = m < 32;
  const double a = swapped ? n : m, b = swapped ? m : n, height = a <= 64 ? 64 : 128, row_blocks = round_up(a / height);
  double width = 0, fewest = 0, fullest = 0;
  for (double candidate = 16; candidate <= 128; candidate += 8) {
    const double blocks = row_blocks * round_up(b / candidate), rounds = round_up(blocks / cores);
    const double last = blocks - (rounds - 1) * cores;
    if (width == 0 || rounds < fewest || (rounds == fewest && last > fullest)) width = candidate, fewest = rounds, fullest = last;
  }
  if (swapped) return {width, height};
  return {height, width};
}

void enumerate_tilings(const GemmShape& shape, double cores, TileRule rule, Tilings& out) {
  if (rule == TileRule::few) return enumerate(shape, cores, few_tiles, few_smallness, few_tiles_parts, out);
  if (rule == TileRule::many) return enumerate(shape, cores, many_tiles, many_smallness, many_tiles_parts, out);
  const auto [rows, columns] = rule_tile(shape.m, shape.n, cores);
  GemmTile tile = tile_of(shape, {rows, columns}, 0, 0);
  tile.used_rows = rows, tile.used_columns = columns;  // padding is loaded and computed like the rest
  out.tiles[0] = tile;
  out.splits[0] = split_of(tile, {1, 0}, round_up(shape.k / shape.depth), cores);
  out.tile_count = out.split_count = 1;
}

}  // namespace gambrel::sim
