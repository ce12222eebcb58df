// oneDNN 2.x behind plain pointers. It runs on OpenMP, whose thread count belongs to the calling thread: set at every call.
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/suite/libraries.hpp"
#include "kernels/timing/pages.hpp"

namespace gambrel::kernels {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;
using Type = memory::data_type;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

struct Types {
  Type x, w, y;
};
Types types_of(OneDnnType type) {
  if (type == OneDnnType::bf16) return {Type::bf16, Type::bf16, Type::bf16};
  if (type == OneDnnType::int8) return {Type::u8, Type::s8, Type::s32};
  return {Type::f32, Type::f32, Type::f32};
}

memory::dim extent(std::size_t n) { return static_cast<memory::dim>(n); }

memory unallocated(const memory::desc& desc) { return {desc, engine(), nullptr}; }

dnnl::matmul::primitive_desc describe(const Types& types, std::size_t m, std::size_t n, std::size_t k, bool packed) {
  const memory::desc x({extent(m), extent(k)}, types.x, Tag::ab), y({extent(m), extent(n)}, types.y, Tag::ab);
  const memory::desc w({extent(k), extent(n)}, types.w, packed ? Tag::any : Tag::ba);
  return {dnnl::matmul::desc(x, w, y), engine()};
}

}  // namespace

std::string onednn_version() {
  const dnnl_version_t& v = *dnnl_version();
  return "oneDNN " + std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch);
}

struct OneDnnProduct::State {
  int threads;
  bool packed;
  memory::desc plain;
  dnnl::matmul::primitive_desc kind;
  dnnl::matmul product;
  dnnl::stream stream{engine()};
  memory x, w, y;
  Pages<char> storage;
};

OneDnnProduct::OneDnnProduct(OneDnnType type, std::size_t m, std::size_t n, std::size_t k, bool packed, int threads) {
  omp_set_num_threads(threads);  // a primitive divides its work when it is made
  const Types types = types_of(type);
  const auto kind = describe(types, m, n, k, packed);
  state_ = std::make_unique<State>(State{.threads = threads, .packed = packed, .plain = {{extent(k), extent(n)}, types.w, Tag::ba},
                                         .kind = kind, .product = dnnl::matmul(kind), .x = unallocated(kind.src_desc()),
                                         .w = unallocated(kind.weights_desc()), .y = unallocated(kind.dst_desc()), .storage = {}});
}
OneDnnProduct::OneDnnProduct(OneDnnProduct&&) noexcept = default;
OneDnnProduct::~OneDnnProduct() = default;

void OneDnnProduct::set_weights(const void* w) {
  State& s = *state_;
  if (!s.packed) return s.w.set_data_handle(const_cast<void*>(w));
  s.storage = make_pages<char>(s.kind.weights_desc().get_size());
  s.w.set_data_handle(s.storage.get());
  memory plain(s.plain, engine(), const_cast<void*>(w));
  dnnl::reorder(plain, s.w).execute(s.stream, plain, s.w);
  s.stream.wait();
}

void OneDnnProduct::run(const void* x, void* y) {
  State& s = *state_;
  omp_set_num_threads(s.threads);
  s.x.set_data_handle(const_cast<void*>(x));
  s.y.set_data_handle(y);
  s.product.execute(s.stream, {{DNNL_ARG_SRC, s.x}, {DNNL_ARG_WEIGHTS, s.w}, {DNNL_ARG_DST, s.y}});
  s.stream.wait();
}

std::string OneDnnProduct::selected() const { return state_->kind.impl_info_str(); }

struct OneDnnRowKernel::State {
  int threads;
  std::string selected;
  dnnl::primitive kernel;
  dnnl::stream stream{engine()};
  memory x, y, gain, bias;
};

OneDnnRowKernel::OneDnnRowKernel(OneDnnRows kind, std::size_t rows, std::size_t columns, int threads) {
  omp_set_num_threads(threads);
  const memory::desc matrix({extent(rows), extent(columns)}, Type::f32, Tag::ab), row({extent(columns)}, Type::f32, Tag::a);
  std::string selected;
  dnnl::primitive kernel;
  if (kind == OneDnnRows::softmax) {
    const dnnl::softmax_forward::primitive_desc chosen({dnnl::prop_kind::forward_inference, matrix, 1}, engine());
    selected = chosen.impl_info_str(), kernel = dnnl::softmax_forward(chosen);
  } else {
    const auto flags = dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;
    const dnnl::layer_normalization_forward::primitive_desc chosen({dnnl::prop_kind::forward_inference, matrix, 1e-5f, flags}, engine());
    selected = chosen.impl_info_str(), kernel = dnnl::layer_normalization_forward(chosen);
  }
  state_ = std::make_unique<State>(State{.threads = threads, .selected = selected, .kernel = kernel, .x = unallocated(matrix),
                                         .y = unallocated(matrix), .gain = unallocated(row), .bias = unallocated(row)});
}
OneDnnRowKernel::OneDnnRowKernel(OneDnnRowKernel&&) noexcept = default;
OneDnnRowKernel::~OneDnnRowKernel() = default;

void OneDnnRowKernel::run(const float* x, const float* gain, const float* bias, float* y) {
  State& s = *state_;
  omp_set_num_threads(s.threads);
  s.x.set_data_handle(const_cast<float*>(x));
  s.y.set_data_handle(y);
  s.gain.set_data_handle(const_cast<float*>(gain));
  s.bias.set_data_handle(const_cast<float*>(bias));
  s.kernel.execute(s.stream, {{DNNL_ARG_SRC, s.x}, {DNNL_ARG_DST, s.y}, {DNNL_ARG_SCALE, s.gain}, {DNNL_ARG_SHIFT, s.bias}});
  s.stream.wait();
}

std::string OneDnnRowKernel::selected() const { return state_->selected; }

}  // namespace gambrel::kernels
