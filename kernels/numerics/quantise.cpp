#include "kernels/numerics/quantise.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/numerics/formats.hpp"

namespace gambrel::kernels {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// Elements [row, row_end) x [column, column_end), which share scale number `index`.
struct Block {
  std::size_t index = 0;
  std::int64_t row = 0, row_end = 0, column = 0, column_end = 0;
};

std::pair<std::int64_t, std::int64_t> block_shape(const Scale& scale, std::int64_t rows, std::int64_t columns) {
  switch (scale.per) {
    case Scale::Per::none:
    case Scale::Per::tensor: return {rows, columns};
    case Scale::Per::channel: return {1, columns};
    case Scale::Per::block: return {std::max(scale.rows, 1), std::max(scale.columns, 1)};
  }
  return {rows, columns};
}

std::vector<Block> blocks_of(const Scale& scale, std::int64_t rows, std::int64_t columns) {
  const auto [height, width] = block_shape(scale, rows, columns);
  std::vector<Block> blocks;
  for (std::int64_t row = 0; row < rows; row += height)
    for (std::int64_t column = 0; column < columns; column += width)
      blocks.push_back({blocks.size(), row, std::min(row + height, rows), column, std::min(column + width, columns)});
  return blocks;
}

/// f(position of an element) for each of the block.
template <class F>
void for_each_element(const Block& block, std::int64_t columns, F f) {
  for (std::int64_t row = block.row; row < block.row_end; ++row)
    for (std::int64_t column = block.column; column < block.column_end; ++column)
      f(static_cast<std::size_t>(row * columns + column));
}

double largest_finite(std::span<const float> values) {
  double amax = 0.0;
  for (const float value : values)
    if (std::isfinite(value)) amax = std::max(amax, std::abs(static_cast<double>(value)));
  return amax;
}

/// A scale as stored: the nearest number of its type.
float stored(double scale, Format type) {
  return static_cast<float>(decode(encode(scale, type, Overflow::saturate), type));
}

float shared_power(double amax, Format element) {
  const double largest_power = std::exp2(std::ilogb(largest(element)));
  return static_cast<float>(decode(encode(amax / largest_power, Format::e8m0, Overflow::saturate), Format::e8m0));
}

/// Least squares of {0, s}: the elements that become s are the k largest of one sign for some k, s is their mean, and
/// the square error falls by (their sum)^2 / k.
struct Fit {
  double gain = 0.0, scale = 0.0;
};

Fit best_prefix(std::span<const float> ordered) {
  Fit best;
  double sum = 0.0;
  for (std::size_t k = 1; k <= ordered.size(); ++k) {
    sum += ordered[k - 1];
    const double count = static_cast<double>(k);
    if (sum * sum / count > best.gain) best = {sum * sum / count, sum / count};
  }
  return best;
}

double least_squares_scale(std::vector<float> values) {
  std::ranges::sort(values);
  const auto positive = std::ranges::upper_bound(values, 0.0F);
  const Fit negative_fit = best_prefix({values.begin(), positive});
  std::reverse(positive, values.end());
  const Fit positive_fit = best_prefix({positive, values.end()});
  return negative_fit.gain > positive_fit.gain ? negative_fit.scale : positive_fit.scale;
}

/// fp8 alone spans too little for scales: they are relative to one fp32 scale of the tensor.
bool two_levels(const DataType& type) {
  const bool many = type.scale.per == Scale::Per::block || type.scale.per == Scale::Per::channel;
  return many && type.scale.type == Format::fp8_e4m3 && type.format != Format::sign1;
}

float tensor_scale_of(std::span<const float> values, const DataType& type) {
  if (!two_levels(type)) return 1.0F;
  return static_cast<float>(largest_finite(values) / (largest(Format::fp8_e4m3) * largest(type.format)));
}

float choose_scale(const std::vector<float>& block, const DataType& type, float tensor_scale) {
  if (!std::ranges::all_of(block, [](float value) { return std::isfinite(value); })) return nan;
  if (type.format == Format::sign1) return stored(least_squares_scale(block), type.scale.type);
  const double amax = largest_finite(block);
  if (type.scale.type == Format::e8m0) return shared_power(amax, type.format);
  if (tensor_scale == 0.0F) return 0.0F;
  return stored(amax / largest(type.format) / tensor_scale, type.scale.type);
}

std::uint32_t encode_scaled(float value, double scale, Format format, double limit) {
  const double quotient = scale == 0.0 ? std::copysign(0.0, value) : value / scale;
  return encode(std::clamp(quotient, -limit, limit), format, Overflow::saturate);
}

Quantised quantise_unscaled(std::span<const float> values, Quantised matrix) {
  const Format format = matrix.type.format;
  matrix.scales = {1.0F};
  for (std::size_t i = 0; i < values.size(); ++i) matrix.codes[i] = encode(values[i], format, usual_overflow(format));
  return matrix;
}

/// `round`: a scaled element to the nearest of its format.
template <class Round>
void round_elements(std::span<float> values, std::int64_t rows, std::int64_t columns, const DataType& type,
                    const Round& round) {
  if (type.scale.per == Scale::Per::none) {
    for (float& value : values) value = static_cast<float>(round(value));
    return;
  }
  const float tensor_scale = tensor_scale_of(values, type);
  const double limit = largest(type.format);
  std::vector<float> elements;
  for (const Block& block : blocks_of(type.scale, rows, columns)) {
    elements.clear();
    for_each_element(block, columns, [&](std::size_t at) { elements.push_back(values[at]); });
    const double scale = static_cast<double>(choose_scale(elements, type, tensor_scale)) * tensor_scale;
    for_each_element(block, columns, [&](std::size_t at) {
      const double quotient = scale == 0.0 ? std::copysign(0.0, values[at]) : values[at] / scale;
      values[at] = static_cast<float>(round(std::clamp(quotient, -limit, limit)) * scale);
    });
  }
}

}  // namespace

Quantised quantise(std::span<const float> values, std::int64_t rows, std::int64_t columns, const DataType& type) {
  Quantised matrix{type, rows, columns, std::vector<std::uint32_t>(values.size()), {}, 1.0F};
  if (type.scale.per == Scale::Per::none) return quantise_unscaled(values, std::move(matrix));
  matrix.tensor_scale = tensor_scale_of(values, type);
  const double limit = largest(type.format);
  for (const Block& block : blocks_of(type.scale, rows, columns)) {
    std::vector<float> elements;
    for_each_element(block, columns, [&](std::size_t at) { elements.push_back(values[at]); });
    matrix.scales.push_back(choose_scale(elements, type, matrix.tensor_scale));
    const double scale = static_cast<double>(matrix.scales.back()) * matrix.tensor_scale;
    for_each_element(block, columns,
                     [&](std::size_t at) { matrix.codes[at] = encode_scaled(values[at], scale, type.format, limit); });
  }
  return matrix;
}

std::vector<float> dequantise(const Quantised& matrix) {
  std::vector<float> values(matrix.codes.size());
  for (const Block& block : blocks_of(matrix.type.scale, matrix.rows, matrix.columns)) {
    const double scale = static_cast<double>(matrix.scales[block.index]) * matrix.tensor_scale;
    for_each_element(block, matrix.columns, [&](std::size_t at) {
      values[at] = static_cast<float>(decode(matrix.codes[at], matrix.type.format) * scale);
    });
  }
  return values;
}

std::vector<float> round_trip(std::span<const float> values, std::int64_t rows, std::int64_t columns,
                              const DataType& type) {
  return dequantise(quantise(values, rows, columns, type));
}

void round_in_place(std::span<float> values, std::int64_t rows, std::int64_t columns, const DataType& type) {
  const Format format = type.format;
  const bool scaled = type.scale.per != Scale::Per::none;
  if (const auto layout = element_layout(format))
    return round_elements(values, rows, columns, type,
                          FloatRounder(*layout, scaled ? Overflow::saturate : usual_overflow(format)));
  if (!scaled || format == Format::sign1 || format == Format::e8m0)
    return round_elements(values, rows, columns, type, [format](double value) {
      return decode(encode(value, format, Overflow::saturate), format);
    });
  // Scaled integers are clamped to plus and minus the largest before: what is left is to find the nearest whole number.
  round_elements(values, rows, columns, type, [](double value) { return (value + 0x1.8p52) - 0x1.8p52; });
}

DataType with_executable_scale(DataType type) {
  const bool needs_one = !is_floating(type.format) && type.format != Format::int32;
  if (needs_one && type.scale.per == Scale::Per::none) type.scale = {Scale::Per::channel, 0, 0, Format::fp32};
  return type;
}

}  // namespace gambrel::kernels
