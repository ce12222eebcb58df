// How far a result is from its reference. Both spans are of one length; sums are in double; a NaN makes them NaN.
#pragma once

#include <span>

namespace gambrel::kernels {

/// ||values - reference|| / ||reference|| in the Euclidean norm. 0 if they are equal; infinite if only the reference
/// is zero.
double relative_error(std::span<const float> reference, std::span<const float> values);

/// Signal to quantisation noise, 10 log10(sum reference^2 / sum (values - reference)^2), in dB: 20 dB are a relative
/// error of 0.1. Infinite if they are equal; minus infinity if only the reference is zero.
double sqnr_db(std::span<const float> reference, std::span<const float> values);

/// max |values - reference|, in the values' unit; 0 of none.
double largest_error(std::span<const float> reference, std::span<const float> values);

}  // namespace gambrel::kernels
