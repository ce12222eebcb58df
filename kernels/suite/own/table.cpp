// The table of one vector width.
#include "kernels/suite/own/functions.hpp"

#define GAMBREL_TEXT_OF(name) #name
#define GAMBREL_TEXT(name) GAMBREL_TEXT_OF(name)

namespace gambrel::kernels::GAMBREL_WIDTH {

const OwnKernels kernels{
    .vectors = GAMBREL_TEXT(GAMBREL_WIDTH),
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .swiglu = swiglu,
    .rotary = rotary,
    .gather = gather,
    .gemv_f32 = gemv_f32,
    .gemv_bf16 = gemv_bf16,
    .gemv_int8 = gemv_int8,
    .gemv_int8_dot = gemv_int8_dot,
    .gemv_int4 = gemv_int4,
    .quantise_groups = quantise_groups,
    .gemv_int4_dot = gemv_int4_dot,
    .attention_block = attention_block,
    .transpose_keys = transpose_keys,
    .attention_prefill = attention_prefill,
    .attention_decode = attention_decode,
    .eigen_gemm = eigen_gemm,
    .eigen_version = eigen_version,
    .eigen_instructions = eigen_instructions,
};

}  // namespace gambrel::kernels::GAMBREL_WIDTH
