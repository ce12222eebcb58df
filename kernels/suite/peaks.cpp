// Purpose: the machine's own limits as rows of the suite: arithmetic peaks, streams at each memory level, an empty launch.
// Reference: none, nothing is computed. Versions: the anchors, on one thread or on all at once; our threads and OpenMP's.
#include <omp.h>

#include "kernels/suite/support.hpp"

namespace gambrel::kernels {
namespace {

/// An anchor's loop in each of some threads.
class Loops : public Call {
 public:
  Loops(Anchor anchor, double bytes_each, double work_each, int threads) {
    for (int i = 0; i < threads; ++i)
      loops_.push_back(make_anchor_doing(anchor, static_cast<std::size_t>(bytes_each), work_each));
  }
  void run() override {
    parallel(static_cast<int>(loops_.size()), [&](int i) { loops_[static_cast<std::size_t>(i)]->run(); });
  }
  std::string selected() const override { return std::string(vector_extension()); }

 private:
  std::vector<std::unique_ptr<AnchorLoop>> loops_;
};

// Whole rounds of every width's loop: 192, 256, 512 ... FLOPs.
constexpr double flops_each = 3 << 21;

void add_peak(Rows& rows, const char* type, Anchor anchor, int threads) {
  if (!has(anchor)) return;
  KernelCase row{.kernel = "fma", .type = type, .version = "own", .threads = threads, .flops = flops_each * threads, .anchor = anchor};
  row.prepare = [=] { return std::make_unique<Loops>(anchor, 0, flops_each, threads); };
  rows.push_back(std::move(row));
}

/// `kib`: of all arrays together, for each thread; a call moves as much, but at least 384 KiB and at most 1.5 MiB.
void add_stream(Rows& rows, const char* kernel, Anchor anchor, double kib, int threads) {
  const double set = kib * 1024, moved = std::clamp(set, 384.0 * 1024, 1536.0 * 1024);
  KernelCase row{.kernel = kernel, .type = "f32", .version = "own", .sizes = {{"kib", kib}}, .threads = threads,
                 .bytes = moved * threads, .working_set = set * threads, .anchor = anchor};
  row.prepare = [=] { return std::make_unique<Loops>(anchor, set, moved, threads); };
  rows.push_back(std::move(row));
}

class EmptyPool : public Call {
 public:
  explicit EmptyPool(int threads) : threads_(threads) {}
  void run() override { parallel(threads_, [](int) {}); }

 private:
  int threads_;
};

class EmptyOpenMp : public Call {
 public:
  explicit EmptyOpenMp(int threads) : threads_(threads) {}
  void run() override {
#pragma omp parallel num_threads(threads_)
    asm volatile("" ::: "memory");  // else there is nothing to start threads for
  }

 private:
  int threads_;
};

template <class Empty>
void add_launch(Rows& rows, const char* version, const char* library, int threads) {
  KernelCase row{.kernel = "launch", .type = "none", .version = version, .library = library, .threads = threads};
  row.prepare = [=] { return std::make_unique<Empty>(threads); };
  rows.push_back(std::move(row));
}

}  // namespace

void add_peaks(Rows& rows, int threads) {
  add_peak(rows, "f32", Anchor::fma_f32, threads);
  add_peak(rows, "f64", Anchor::fma_f64, threads);
  add_peak(rows, "bf16", Anchor::fma_bf16, threads);
  add_peak(rows, "int8", Anchor::fma_int8, threads);
  // In the middle of usual first, second and third levels, and far beyond; all divide by three arrays of whole blocks.
  for (const double kib : {24.0, 192.0, 6.0 * 1024, 384.0 * 1024}) {
    add_stream(rows, "stream_read", Anchor::read, kib, threads);
    add_stream(rows, "stream_copy", Anchor::copy, kib, threads);
    add_stream(rows, "stream_triad", Anchor::triad, kib, threads);
  }
  add_launch<EmptyPool>(rows, "own", "", threads);
  add_launch<EmptyOpenMp>(rows, "openmp", "libgomp", threads);
}

}  // namespace gambrel::kernels
