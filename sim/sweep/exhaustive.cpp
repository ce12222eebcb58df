// Every point of the space, first axis slowest.
#include "sim/sweep/search_sequence.hpp"

namespace gambrel::sim {
namespace {

class Exhaustive final : public Sequence {
 public:
  explicit Exhaustive(std::uint64_t size) : size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::uint64_t at(std::uint64_t position) const override { return position; }

 private:
  std::uint64_t size_;
};

}  // namespace

std::unique_ptr<Sequence> exhaustive_sequence(const DesignSpace& space, const SearchOptions&) { return std::make_unique<Exhaustive>(space.size()); }

}  // namespace gambrel::sim
