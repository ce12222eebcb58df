#include "kernels/numerics/error.hpp"

#include <cmath>
#include <limits>

namespace gambrel::kernels {

double relative_error(std::span<const float> reference, std::span<const float> values) {
  double signal = 0.0, noise = 0.0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double wanted = reference[i], error = values[i] - wanted;
    signal += wanted * wanted;
    noise += error * error;
  }
  return noise == 0.0 ? 0.0 : std::sqrt(noise / signal);
}

double sqnr_db(std::span<const float> reference, std::span<const float> values) {
  const double error = relative_error(reference, values);
  return error == 0.0 ? std::numeric_limits<double>::infinity() : -20.0 * std::log10(error);
}

double largest_error(std::span<const float> reference, std::span<const float> values) {
  double largest = 0.0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double error = std::abs(static_cast<double>(values[i]) - reference[i]);
    if (std::isnan(error)) return error;
    largest = error > largest ? error : largest;
  }
  return largest;
}

}  // namespace gambrel::kernels
