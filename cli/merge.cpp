// gambrel merge: the files of a sweep's shards into one.
#include <fmt/format.h>

#include "cli/verbs.hpp"
#include "sim/sweep/store_merge.hpp"

namespace gambrel::cli {
namespace {

class Merge final : public Verb {
 public:
  std::string_view name() const override { return "merge"; }
  std::string_view summary() const override { return "Shards of a sweep into one result file"; }

  void declare(Options& options) override {
    options.positional("out", out_, "Result file to write, or to add to");
    options.positionals("in", in_, "Result files of `gambrel sweep --shard i/N`");
  }

  int run(const Session& session) override {
    const auto merged = sim::merge_stores(out_, in_, {.name = "merge", .command = "gambrel merge"});
    if (!merged) return session.report(merged.error());
    std::string counts;
    if (merged->counts) counts = fmt::format(": {} ok, {} violate a constraint, {} impossible", merged->counts->ok, merged->counts->violates, merged->counts->impossible);
    return session.print(fmt::format("{}: {} points finished{}; {} stored, {} on the Pareto front\n", out_, merged->finished, counts, merged->stored, merged->front));
  }

 private:
  std::string out_;
  std::vector<std::string> in_;
};

}  // namespace

std::unique_ptr<Verb> merge_verb() { return std::make_unique<Merge>(); }

}  // namespace gambrel::cli
