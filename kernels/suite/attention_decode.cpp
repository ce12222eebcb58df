// Purpose: attention of one new token over its cache, with query heads that share keys and values (Ainslie et al. 2023,
// arXiv 2305.13245). Reference: softmax(q k / sqrt(d)) v in fp64. Version: own; threads share key/value heads, or the
// cache of each if there are fewer heads than threads, whose parts are then joined by their totals.
#include "kernels/suite/attention_operands.hpp"

namespace gambrel::kernels {
namespace {

class Decode : public AttentionOperands {
 public:
  Decode(const HeadShape& shape, std::size_t keys, int threads)
      : AttentionOperands(shape, 1, keys, threads), caches_(shape.batch * shape.kv_heads), group_(shape.heads / shape.kv_heads),
        splits_(caches_ % static_cast<std::size_t>(threads) == 0 ? 1 : static_cast<std::size_t>(threads)),
        parts_(make_pages<float>(splits_ * shape.batch * shape.heads * shape.head_dim)), most_(splits_ * shape.batch * shape.heads),
        totals_(splits_ * shape.batch * shape.heads) {}

  void run() override {
    share(threads_, caches_ * splits_, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) splits_ == 1 ? whole(i) : part(i % splits_, i / splits_);
    });
    if (splits_ > 1) join();
  }

 private:
  DecodePart describe(std::size_t cache, std::size_t first, std::size_t last) const {
    const std::size_t width = shape_.head_dim, row = (cache * keys_ + first) * width;
    return {.q = q_.get() + cache * group_ * width, .k = k_.get() + row, .v = v_.get() + row, .out = out_.get() + cache * group_ * width,
            .heads = group_, .keys = last - first, .width = width, .kv_stride = width};
  }
  void whole(std::size_t cache) { own_.attention_decode(describe(cache, 0, keys_)); }
  void part(std::size_t split, std::size_t cache) {
    const auto [first, last] = piece(keys_, static_cast<int>(split), static_cast<int>(splits_), 16);
    DecodePart p = describe(cache, first, last);
    const std::size_t heads = shape_.batch * shape_.heads, head = split * heads + cache * group_;
    p.out = parts_.get() + head * shape_.head_dim, p.most = most_.data() + head, p.totals = totals_.data() + head;
    own_.attention_decode(p);
  }
  /// Each part's result and total count e^(its largest score - the largest of all) times.
  void join() {
    const std::size_t heads = shape_.batch * shape_.heads, width = shape_.head_dim;
    for (std::size_t h = 0; h < heads; ++h) {
      float most = most_[h], total = 0;
      for (std::size_t s = 1; s < splits_; ++s) most = std::max(most, most_[s * heads + h]);
      float* const out = out_.get() + h * width;
      std::fill_n(out, width, 0.0f);
      for (std::size_t s = 0; s < splits_; ++s) {
        const std::size_t at = s * heads + h;
        const float factor = std::exp(most_[at] - most);
        total += factor * totals_[at];
        for (std::size_t i = 0; i < width; ++i) out[i] += factor * parts_[at * width + i];
      }
      for (std::size_t i = 0; i < width; ++i) out[i] /= total;
    }
  }

  std::size_t caches_, group_, splits_;
  Pages<float> parts_;
  std::vector<float> most_, totals_;
};

}  // namespace

KernelCase attention_decode_case(std::string_view version, const HeadShape& shape, std::size_t keys, int threads) {
  KernelCase row = attention_row("attention_decode", version, shape, 1, keys, threads);
  set_calls(
      row, [=] { return std::make_unique<Decode>(shape, keys, threads); },
      [=] {
        const HeadShape small{std::min<std::size_t>(shape.batch, 2), shape.heads / shape.kv_heads * std::min<std::size_t>(shape.kv_heads, 3), std::min<std::size_t>(shape.kv_heads, 3), shape.head_dim};
        return std::make_unique<Decode>(small, std::min<std::size_t>(keys, 203), threads);
      });
  return row;
}

void add_attention_decode(Rows& rows, int threads) {
  const HeadShape grouped{.batch = 1, .heads = 8, .kv_heads = 2, .head_dim = 128};
  const HeadShape plain{.batch = 1, .heads = 8, .kv_heads = 8, .head_dim = 128};
  rows.push_back(attention_decode_case("own", grouped, 256, threads));  // 512 KiB
  rows.back().gate = true;
  rows.push_back(attention_decode_case("own", grouped, 4096, threads));  // 8 MiB
  rows.push_back(attention_decode_case("own", grouped, 32768, threads));  // 64 MiB
  rows.push_back(attention_decode_case("own", plain, 1024, threads));  // 8 MiB
  rows.push_back(attention_decode_case("own", plain, 8192, threads));  // 64 MiB
}

}  // namespace gambrel::kernels
