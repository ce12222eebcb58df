// Inside own/ only: the declarations of this width's functions. GAMBREL_WIDTH is baseline, avx2 or avx512.
#pragma once

#include "kernels/suite/own/own.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {

void rms_norm(const float* x, const float* gain, float* y, std::size_t rows, std::size_t n, float epsilon);
void layer_norm(const float* x, const float* gain, const float* bias, float* y, std::size_t rows, std::size_t n, float epsilon);
void softmax(const float* x, float* y, std::size_t rows, std::size_t n);
void swiglu(const float* x, float* y, std::size_t rows, std::size_t n);
void rotary(const float* x, const float* cosine, const float* sine, float* y, std::size_t rows, std::size_t heads, std::size_t width);
void gather(const float* table, const std::int32_t* index, float* y, std::size_t rows, std::size_t n);
void gemv_f32(const float* w, const float* x, float* y, std::size_t n, std::size_t k);
void gemv_bf16(const std::uint16_t* w, const float* x, float* y, std::size_t n, std::size_t k);
void gemv_int8(const std::int8_t* w, const float* scales, const float* x, float* y, std::size_t n, std::size_t k);
bool gemv_int8_dot(const std::int8_t* w, const std::uint8_t* x, std::int32_t* y, std::size_t n, std::size_t k);
void gemv_int4(const std::uint8_t* w, const std::uint16_t* scales, const float* x, float* y, std::size_t n, std::size_t k);
void quantise_groups(const float* x, const QuantisedRow& q, std::size_t k);
bool gemv_int4_dot(const std::uint8_t* w, const std::uint16_t* scales, const QuantisedRow& x, float* y, std::size_t n, std::size_t k);
std::size_t attention_block();
void transpose_keys(const float* keys, float* transposed, std::size_t count, std::size_t stride, std::size_t width);
void attention_prefill(const PrefillPart& part);
void attention_decode(const DecodePart& part);
void eigen_gemm(const float* x, const float* w, float* y, std::size_t m, std::size_t n, std::size_t k, int threads);
const char* eigen_version();
const char* eigen_instructions();

}  // namespace gambrel::kernels::GAMBREL_WIDTH
