// What kernels are timed against in the same seconds: loops that do nothing but arithmetic or nothing but reading.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

namespace gambrel::kernels {

/// fma_*: independent multiply-adds on registers, with the widest vectors this CPU has. read: a sum over memory.
enum class Anchor { fma_f32, fma_f64, fma_bf16, fma_int8, read, copy, triad };
std::string_view to_string(Anchor anchor);
std::optional<Anchor> parse_anchor(std::string_view name);

/// The vector extension whose version of an anchor runs here, found at run time: "avx512", "avx2", "neon", "scalar".
std::string_view vector_extension();
/// Whether the CPU has an instruction for it (bf16: VDPBF16PS, int8: VPDPBUSD).
bool has(Anchor anchor);

/// One thread's loop. Work is FLOPs or OPs (fma_*), or bytes (2 per element of a copy, 3 of a triad, no write-allocate).
class AnchorLoop {
 public:
  virtual ~AnchorLoop() = default;
  virtual double work() const = 0;  ///< of one run()
  virtual void run() = 0;
};

/// `bytes`: working set of a memory anchor, in 2 MiB pages where the system gives them; `seconds`: about how long one
/// run() takes (0.5 to 2 ms are what the sampler wants). Falls back to fma_f32 where has() is false.
std::unique_ptr<AnchorLoop> make_anchor(Anchor anchor, std::size_t bytes, double seconds = 1e-3);
/// The same with the work of a run() given: FLOPs (rounded down to whole rounds of the loop) or bytes.
std::unique_ptr<AnchorLoop> make_anchor_doing(Anchor anchor, std::size_t bytes, double work);

}  // namespace gambrel::kernels
