// Purpose: the suite on any OpenCL device: copy, triad, multiply-adds, GEMV, GEMM with its tile as parameters.
// Reference: fp64 loops over the same operands. Versions: one source, tile sizes set when it is compiled for the device.
#include <cmath>

#include "kernels/suite/gemm.hpp"
#include "kernels/suite/opencl.hpp"
#include "kernels/suite/suite.hpp"
#include "kernels/suite/support.hpp"

namespace gambrel::kernels {
namespace {

using opencl::Buffer;
using opencl::DevicePtr;
using opencl::Kernel;

// gemm: every work-item has TILE_M rows and TILE_N vectors of 16 columns; w is transposed, w[k][n]. One item a group by
// default: CPU drivers else make vectors of items, which tears the tile apart; GPUs want more.
constexpr const char* source = R"(
#define ALL _Pragma("unroll")
__kernel void copy(__global const float8* a, __global float8* b) { size_t i = get_global_id(0); b[i] = a[i]; }
__kernel void triad(__global const float8* a, __global const float8* b, __global float8* c) { size_t i = get_global_id(0); c[i] = a[i] + 3.0f * b[i]; }
__kernel void fma_f32(__global float8* y, int rounds) {
  size_t i = get_global_id(0);
  float8 x = 1.0f, small = 9.0949470e-13f, s0 = i, s1 = i + 1, s2 = i + 2, s3 = i + 3, s4 = i + 4, s5 = i + 5, s6 = i + 6, s7 = i + 7;
  for (int r = 0; r < rounds; ++r) {
    s0 = fma(s0, x, small); s1 = fma(s1, x, small); s2 = fma(s2, x, small); s3 = fma(s3, x, small);
    s4 = fma(s4, x, small); s5 = fma(s5, x, small); s6 = fma(s6, x, small); s7 = fma(s7, x, small);
  }
  y[i] = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
}
__kernel void gemv(__global const float8* w, __global const float8* x, __global float* y, int k8) {
  size_t row = get_global_id(0);
  __global const float8* const here = w + row * k8;
  float8 s = 0.0f, t = 0.0f;
  for (int i = 0; i < k8; i += 2) { s = fma(here[i], x[i], s); t = fma(here[i + 1], x[i + 1], t); }
  s += t;
  y[row] = s.s0 + s.s1 + s.s2 + s.s3 + s.s4 + s.s5 + s.s6 + s.s7;
}
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void gemm(__global const float* x, __global const float* w, __global float* y, int n, int k) {
  size_t row = get_global_id(1) * TILE_M, column = get_global_id(0) * 16 * TILE_N;
  float16 s[TILE_M][TILE_N];
  ALL for (int r = 0; r < TILE_M; ++r) ALL for (int c = 0; c < TILE_N; ++c) s[r][c] = 0.0f;
  for (int i = 0; i < k; ++i) {
    float16 b[TILE_N];
    ALL for (int c = 0; c < TILE_N; ++c) b[c] = vload16(0, w + (size_t)i * n + column + 16 * c);
    ALL for (int r = 0; r < TILE_M; ++r) {
      float16 a = x[(row + r) * k + i];
      ALL for (int c = 0; c < TILE_N; ++c) s[r][c] = fma(a, b[c], s[r][c]);
    }
  }
  ALL for (int r = 0; r < TILE_M; ++r) ALL for (int c = 0; c < TILE_N; ++c) vstore16(s[r][c], 0, y + (row + r) * n + column + 16 * c);
}
)";

/// A kernel on a device with operands of floats, the last of them the result.
class OnDevice : public Checked {
 public:
  OnDevice(DevicePtr device, const char* name, const std::vector<std::size_t>& sizes, const std::string& options = "-D TILE_M=4 -D TILE_N=1 -D GROUP=1")
      : device_(std::move(device)), kernel_(device_, source, name, options) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      host_.emplace_back(sizes[i]);
      if (i + 1 < sizes.size()) fill(std::span(host_.back()), i + 1);
      buffers_.push_back(std::make_unique<Buffer>(device_, sizes[i] * sizeof(float)));
      buffers_.back()->write(host_.back().data(), sizes[i] * sizeof(float));
      kernel_.set(static_cast<unsigned>(i), *buffers_.back());
    }
  }
  void run() override { seconds_ = kernel_.run(global_, local_); }
  double device_seconds() const override { return seconds_; }
  std::string selected() const override { return info(*device_).driver; }
  double error() const override {
    std::vector<float> result(host_.back().size());
    buffers_.back()->read(result.data(), result.size() * sizeof(float));
    std::vector<double> expected(result.size());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = reference(i);
    return relative_error(expected, [&](std::size_t i) { return result[i]; });
  }

 protected:
  virtual double reference(std::size_t i) const = 0;

  DevicePtr device_;
  Kernel kernel_;
  std::vector<std::vector<float>> host_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::pair<std::size_t, std::size_t> global_{1, 1}, local_{0, 0};
  double seconds_ = 0;
};

class Copy : public OnDevice {
 public:
  Copy(DevicePtr device, std::size_t n) : OnDevice(std::move(device), "copy", {n, n}) { global_.first = n / 8; }

 private:
  double reference(std::size_t i) const override { return host_[0][i]; }
};

class Triad : public OnDevice {
 public:
  Triad(DevicePtr device, std::size_t n) : OnDevice(std::move(device), "triad", {n, n, n}) { global_.first = n / 8; }

 private:
  double reference(std::size_t i) const override { return host_[0][i] + 3.0 * host_[1][i]; }
};

class MultiplyAdd : public OnDevice {
 public:
  static constexpr std::size_t items = 1024;
  MultiplyAdd(DevicePtr device, int rounds) : OnDevice(std::move(device), "fma_f32", {items * 8}) {
    global_.first = items;
    kernel_.set(1, rounds);
  }

 private:
  double reference(std::size_t i) const override { return 8.0 * static_cast<double>(i / 8) + 28; }  // what is added is below rounding
};

class Gemv : public OnDevice {
 public:
  Gemv(DevicePtr device, std::size_t n, std::size_t k) : OnDevice(std::move(device), "gemv", {n * k, k, n}), k_(k) {
    global_.first = n;
    kernel_.set(3, static_cast<int>(k / 8));
  }

 private:
  double reference(std::size_t row) const override {
    double sum = 0;
    for (std::size_t i = 0; i < k_; ++i) sum += static_cast<double>(host_[0][row * k_ + i]) * host_[1][i];
    return sum;
  }
  std::size_t k_;
};

struct Tile {
  std::size_t rows, vectors, group = 1;
  std::string options() const {
    return "-D TILE_M=" + std::to_string(rows) + " -D TILE_N=" + std::to_string(vectors) + " -D GROUP=" + std::to_string(group);
  }
};

class Gemm : public OnDevice {
 public:
  Gemm(DevicePtr device, const Tile& tile, std::size_t m, std::size_t n, std::size_t k)
      : OnDevice(std::move(device), "gemm", {m * k, k * n, m * n}, tile.options()), n_(n), k_(k) {
    global_ = {n / (16 * tile.vectors), m / tile.rows}, local_ = {tile.group, 1};
    kernel_.set(3, static_cast<int>(n)), kernel_.set(4, static_cast<int>(k));
  }

 private:
  double reference(std::size_t i) const override {
    double sum = 0;
    for (std::size_t j = 0; j < k_; ++j) sum += static_cast<double>(host_[0][i / n_ * k_ + j]) * host_[1][j * n_ + i % n_];
    return sum;
  }
  std::size_t n_, k_;
};

KernelCase row_on(const DevicePtr& device, std::string kernel, std::string version, std::vector<std::pair<std::string, double>> sizes) {
  const opencl::DeviceInfo& on = info(*device);
  return {.kernel = std::move(kernel), .type = "f32", .version = std::move(version), .library = "OpenCL: " + on.name + " (" + on.type + ")",
          .sizes = std::move(sizes), .threads = static_cast<int>(on.compute_units)};
}

void add_streams(Rows& rows, const DevicePtr& device) {
  for (const double mib : {3, 96}) {
    KernelCase copy = row_on(device, "stream_copy", "opencl", {{"kib", mib * 1024}});
    copy.bytes = copy.working_set = mib * 1024 * 1024, copy.anchor = Anchor::copy;
    const auto n = static_cast<std::size_t>(mib * 1024 * 1024 / sizeof(float));
    KernelCase triad = copy;
    triad.kernel = "stream_triad", triad.anchor = Anchor::triad;
    triad.gate = mib > 32;  // a small one is over before the device's clock has moved
    set_calls(
        copy, [=] { return std::make_unique<Copy>(device, n / 2); }, [=] { return std::make_unique<Copy>(device, 1024); });
    set_calls(
        triad, [=] { return std::make_unique<Triad>(device, n / 3); }, [=] { return std::make_unique<Triad>(device, 1024); });
    rows.push_back(std::move(copy)), rows.push_back(std::move(triad));
  }
}

void add_products(Rows& rows, const DevicePtr& device) {
  KernelCase gemv = row_on(device, "gemv", "opencl", {{"n", 4096}, {"k", 4096}});
  gemv.gate = true;
  set_work(gemv, models::single_gemm(1, 4096, 4096, Format::fp32, Format::fp32, Format::fp32), Anchor::fma_f32);
  set_calls(
      gemv, [=] { return std::make_unique<Gemv>(device, 4096, 4096); }, [=] { return std::make_unique<Gemv>(device, 64, 128); });
  rows.push_back(std::move(gemv));
  for (const Tile& tile : {Tile{8, 1}, Tile{8, 2}, Tile{4, 1, 8}})
    for (const double size : {512.0, 1024.0}) {
      const auto n = static_cast<std::size_t>(size);
      KernelCase gemm = row_on(device, "gemm", "opencl_" + std::to_string(tile.rows) + "x" + std::to_string(16 * tile.vectors) + (tile.group > 1 ? "_group" + std::to_string(tile.group) : ""), {{"m", size}, {"n", size}, {"k", size}});
      gemm.gate = size == 512;
      set_work(gemm, models::single_gemm(size, size, size, Format::fp32, Format::fp32, Format::fp32), Anchor::fma_f32);
      set_calls(
          gemm, [=] { return std::make_unique<Gemm>(device, tile, n, n, n); }, [=] { return std::make_unique<Gemm>(device, tile, 16, 128, 40); });
      rows.push_back(std::move(gemm));
    }
}

}  // namespace

std::vector<KernelCase> opencl_suite() {
  Rows rows;
  std::size_t number = 0;
  for (const DevicePtr& device : opencl::devices()) {
    constexpr int rounds = 2048;
    const std::size_t first = rows.size();
    KernelCase peak = row_on(device, "fma", "opencl", {});
    peak.flops = 2.0 * 8 * 8 * rounds * MultiplyAdd::items;
    set_calls(
        peak, [=] { return std::make_unique<MultiplyAdd>(device, rounds); }, [=] { return std::make_unique<MultiplyAdd>(device, 3); });
    rows.push_back(std::move(peak));
    add_streams(rows, device);
    add_products(rows, device);
    if (++number > 1)
      for (std::size_t i = first; i < rows.size(); ++i) rows[i].version += "_device" + std::to_string(number);
  }
  return rows;
}

}  // namespace gambrel::kernels
