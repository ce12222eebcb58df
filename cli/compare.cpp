// gambrel compare: variants of a run side by side, speed beside error.
#include "sim/compare/compare.hpp"

#include <fmt/format.h>

#include <charconv>

#include "cli/run_options.hpp"
#include "cli/verbs.hpp"
#include "reports/comparison.hpp"
#include "sim/compare/read_comparison.hpp"

namespace gambrel::cli {
namespace {

Diagnostic usage(std::string message, std::string hint) { return {{}, std::move(message), std::move(hint), Fault::usage}; }

class Compare final : public Verb {
 public:
  std::string_view name() const override { return "compare"; }
  std::string_view summary() const override { return "Variants of a run side by side: precision and sparsity, speed beside numerical error"; }

  void declare(Options& options) override {
    options.positional("comparison", file_, "Comparison file {baseline, variants}, or a run to vary with --vary");
    options.option("--vary", vary_, "Key and values: precision=bf16,fp8,mxfp4 or sparsity=none,2:4 or any path of --set; can be repeated: all combinations, the first is the baseline");
    options.option("--set", settings_, "Override any key of every variant: path=value; can be repeated");
    options.flag("--no-error", no_error_, "Do not execute anything: no numerical error");
    options.option("--layers", layers_, "Layers of the copy that is executed; 2 if left out");
    options.option("--width-fraction", width_, "Its widths, over the model's; 0.25 if left out");
    options.option("--tokens", tokens_, "Tokens of the sequence it reads; 32 if left out");
    options.option("--seed", seed_, "Of synthetic weights and of the tokens");
    options.option("--weights", weights_, "Real weights: a .safetensors file, or the index .json of several");
    options.option("--search-budget", budget_, "Also find the fastest formats for groups of operators within this relative error of the logits: 0.02 is 2 %");
    options.option("--html", html_, "Write the report as one offline HTML file");
    options.choice("--format", format_, {"table", "json", "csv", "markdown"}, "How to print");
  }

  int run(const Session& session) override {
    auto comparison = read(session);
    if (!comparison) return session.report(comparison.error());
    if (auto set = set_options(*comparison); !set) return session.report(set.error());
    if (comparison->variants.size() < 2 && !comparison->search)
      return session.report({usage("there is nothing to compare", "--vary precision=bf16,fp8, or a file with variants:")});
    const auto result = sim::compare(session.catalog(), *comparison);
    if (!result) return session.report(result.error());
    if (!html_.empty())
      if (const int failed = session.write_file(html_, reports::write_comparison_html(*result)); failed != done) return failed;
    return session.print(reports::write_comparison(*result, *reports::parse_text_format(format_)));
  }

 private:
  Result<sim::Comparison> read(const Session& session) const {
    const auto settings = parse_settings(settings_);
    if (!settings) return fail(settings.error());
    const auto document = session.catalog().load("runs", file_);
    if (!document) return fail(document.error());
    if (document->find("baseline")) {
      if (!vary_.empty()) return fail(usage("--vary is for a run, and this is a comparison file", "write vary: {precision: [bf16, fp8]} into it, or name the run itself"));
      return sim::read_comparison(session.catalog(), *document, *settings);
    }
    std::vector<sim::Vary> keys;
    for (const std::string& text : vary_) {
      const auto source = std::make_shared<const Source>(Source{"--vary", text});
      auto key = sim::parse_vary(text, {source, 1, 1});
      if (!key) return fail(key.error());
      keys.push_back(std::move(*key));
    }
    return sim::vary_run(*document, keys, *settings);
  }

  /// A number in (low, high], or nothing if the option is not given.
  template <class T>
  static Result<std::optional<T>> number(std::string_view option, const std::string& text, T low, T high) {
    if (text.empty()) return std::nullopt;
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value > low) || value > high)
      return fail(usage(fmt::format("{} '{}' is not a number above {} and up to {}", option, text, low, high), ""));
    return value;
  }

  Result<void> set_options(sim::Comparison& c) const {
    const auto layers = number("--layers", layers_, 0, 1000), tokens = number("--tokens", tokens_, 0, 100000);
    const auto width = number("--width-fraction", width_, 0.0, 1.0), budget = number("--search-budget", budget_, 0.0, 10.0);
    const auto seed = number<std::int64_t>("--seed", seed_, -1, std::int64_t{1} << 53);
    Diagnostics problems;
    auto collect = [&](const auto& value) {
      if (!value) problems.insert(problems.end(), value.error().begin(), value.error().end());
    };
    collect(layers), collect(tokens), collect(width), collect(budget), collect(seed);
    if (!problems.empty()) return fail(problems);
    if (no_error_) c.measure_error = false;
    if (*layers) c.error.layers = **layers;
    if (*tokens) c.error.tokens = **tokens;
    if (*width) c.error.width_fraction = **width;
    if (*seed) c.error.seed = static_cast<std::uint64_t>(**seed);
    if (!weights_.empty()) c.error.weights_file = weights_;
    if (*budget) {
      if (!c.search) c.search.emplace();
      c.search->budget = **budget;
    }
    if (c.search && no_error_) return fail(usage("a search within an error has to execute", "leave out --no-error"));
    return {};
  }

  std::string file_, layers_, width_, tokens_, seed_, weights_, budget_, html_, format_ = "table";
  std::vector<std::string> vary_, settings_;
  bool no_error_ = false;
};

}  // namespace

std::unique_ptr<Verb> compare_verb() { return std::make_unique<Compare>(); }

}  // namespace gambrel::cli
