// Purpose: causal attention of many new tokens, the quadratic part of a prompt.
// Reference: softmax(q k / sqrt(d)) v in fp64. Version: own (softmax block by block, scores in registers and cache).
#include <atomic>

#include "kernels/suite/attention_operands.hpp"

namespace gambrel::kernels {
namespace {

constexpr std::size_t chunk = 96;  ///< queries of a head that a thread takes at a time: whole tiles of every width

class Prefill : public AttentionOperands {
 public:
  Prefill(const HeadShape& shape, std::size_t queries, std::size_t past, int threads)
      : AttentionOperands(shape, queries, past + queries, threads),
        padded_((keys_ + own_.attention_block() - 1) / own_.attention_block() * own_.attention_block()),
        transposed_(make_pages<float>(shape.batch * shape.kv_heads * padded_ * shape.head_dim)) {}

  void run() override {
    const std::size_t width = shape_.head_dim;
    share(threads_, shape_.batch * shape_.kv_heads, [&](std::size_t first, std::size_t last) {
      for (std::size_t head = first; head < last; ++head)
        own_.transpose_keys(k_.get() + head * keys_ * width, transposed_.get() + head * padded_ * width, keys_, width, width);
    });
    // Late chunks see more keys than early ones, so chunks are taken as threads become free, the longest first.
    const std::size_t chunks = (queries_ + chunk - 1) / chunk, pieces = chunks * shape_.batch * shape_.heads;
    std::atomic<std::size_t> next{0};
    parallel(threads_, [&](int) {
      for (std::size_t at = next++; at < pieces; at = next++)
        attend(at % (shape_.batch * shape_.heads), chunks - 1 - at / (shape_.batch * shape_.heads));
    });
  }

 private:
  void attend(std::size_t head_of_all, std::size_t chunk_index) {
    const std::size_t b = head_of_all / shape_.heads, h = head_of_all % shape_.heads, cache = cache_of(b, h);
    own_.attention_prefill({.q = q_.get() + row_of(b, 0, h), .transposed = transposed_.get() + cache / keys_ * padded_, .values = v_.get() + cache,
                            .out = out_.get() + row_of(b, 0, h), .first = chunk_index * chunk, .last = std::min(queries_, (chunk_index + 1) * chunk),
                            .past = keys_ - queries_, .keys = keys_, .width = shape_.head_dim, .q_stride = shape_.heads * shape_.head_dim,
                            .kv_stride = shape_.head_dim});
  }

  std::size_t padded_;
  Pages<float> transposed_;
};

}  // namespace

KernelCase attention_prefill_case(std::string_view version, const HeadShape& shape, std::size_t queries, std::size_t past, int threads) {
  KernelCase row = attention_row("attention_prefill", version, shape, queries, past + queries, threads);
  set_calls(
      row, [=] { return std::make_unique<Prefill>(shape, queries, past, threads); },
      [=] {
        const HeadShape small{std::min<std::size_t>(shape.batch, 2), shape.heads / shape.kv_heads * std::min<std::size_t>(shape.kv_heads, 2), std::min<std::size_t>(shape.kv_heads, 2), shape.head_dim};
        return std::make_unique<Prefill>(small, std::min<std::size_t>(queries, 101), std::min<std::size_t>(past, 70), threads);
      });
  return row;
}

void add_attention_prefill(Rows& rows, int threads) {
  const HeadShape shape{.batch = 1, .heads = 8, .kv_heads = 2, .head_dim = 128};
  rows.push_back(attention_prefill_case("own", shape, 256, 0, threads));
  rows.back().gate = true;
  rows.push_back(attention_prefill_case("own", shape, 1024, 0, threads));
  rows.push_back(attention_prefill_case("own", shape, 256, 768, threads));
}

}  // namespace gambrel::kernels
