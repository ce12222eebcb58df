// Options checked, the copy made, its fp32 run recorded once; then the variants, some at a time.
#include "kernels/numerical_error/numerical_error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <thread>

#include "kernels/numerical_error/numerical_error_run.hpp"
#include "kernels/weights/safetensors.hpp"

namespace gambrel::kernels {
namespace {

constexpr double most_elements = 1e10,
                 most_of_one = 6e8;    ///< drawn for one run; of one tensor, which is held several times
constexpr double held_elements = 2e8;  ///< up to that many rounded weights are kept between runs
constexpr int default_layers = 2, default_vocabulary = 2048;
constexpr double default_fraction = 0.25;

/// Options with nothing left open.
struct Extent {
  int layers;
  double width_fraction, vocabulary;
};

Extent extent_of(const models::ModelConfig& model, const ErrorOptions& o) {
  const bool file = !o.weights_file.empty();
  return {std::min(o.layers.value_or(file ? model.layer_count() : default_layers), model.layer_count()),
          o.width_fraction.value_or(file ? 1 : default_fraction),
          std::min(o.vocabulary_rows.value_or(file ? model.vocab : default_vocabulary), model.vocab)};
}

Diagnostic wrong(std::string message, std::string hint) {
  return {{}, std::move(message), std::move(hint), Fault::input};
}

Diagnostics check(const models::ModelConfig& model, const ErrorOptions& o) {
  Diagnostics found;
  auto require = [&](bool holds, std::string message, std::string hint) {
    if (!holds) found.push_back(wrong(std::move(message), std::move(hint)));
  };
  const Extent e = extent_of(model, o);
  require(e.layers >= 1, fmt::format("{} layers cannot be run", e.layers), "take at least 1");
  require(e.width_fraction > 0 && e.width_fraction <= 1,
          fmt::format("a width fraction of {} makes no model", e.width_fraction), "above 0 and at most 1");
  require(o.weights_file.empty() || e.width_fraction == 1, "weights from a file are not cut in width",
          "leave out the width fraction, or the file");
  require(e.vocabulary >= 2 && e.vocabulary == std::round(e.vocabulary),
          fmt::format("{} rows of the vocabulary cannot be run", e.vocabulary), "take a whole number of at least 2");
  require(o.tokens >= 1, fmt::format("{} tokens cannot be run", o.tokens), "take at least 1");
  require(std::ranges::all_of(o.growth_layers, [](int layers) { return layers >= 1; }),
          "a depth of 0 layers has no error", "growth_layers counts from 1");
  require(std::ranges::all_of(o.token_ids, [&](std::uint32_t id) { return id < e.vocabulary; }),
          fmt::format("a token is beyond the {} rows of the vocabulary that are run", e.vocabulary),
          "take more rows of the vocabulary, or smaller token numbers");
  return found;
}

double weight_elements(const models::Graph& graph) {
  double sum = 0;
  for (const models::Tensor& t : graph.tensors())
    if (t.role == models::Role::weight || t.role == models::Role::expert_weight) sum += t.elements() * t.copies;
  return sum;
}

Diagnostics check_size(const models::Graph& graph) {
  double largest = 0;
  for (const models::Tensor& t : graph.tensors()) largest = std::max(largest, t.elements());
  const double all = weight_elements(graph);
  if (largest <= most_of_one && all <= most_elements) return {};
  return {wrong(fmt::format("the copy has {:.3g} weights, one tensor {:.3g} elements: more than {:.3g} and {:.3g}", all,
                            largest, most_elements, most_of_one),
                "take a smaller width fraction, fewer layers, or fewer rows of the vocabulary")};
}

/// A copy, its weights and its fp32 run.
struct Stage {
  ErrorSetting setting;
  ErrorReference reference;
};

class Study {
 public:
  Study(const models::ModelConfig& model, const ErrorOptions& options) : model_(model), options_(options) {}

  Diagnostics prepare() {
    if (Diagnostics problems = check(model_, options_); !problems.empty()) return problems;
    extent_ = extent_of(model_, options_);
    if (Diagnostics problems = open_weights(); !problems.empty()) return problems;
    if (Diagnostics problems = stage(extent_.layers, main_); !problems.empty()) return problems;
    const int deepest = options_.growth_layers.empty() ? 0 : std::ranges::max(options_.growth_layers);
    const int layers = std::min(deepest, model_.layer_count());
    return layers > extent_.layers ? stage(layers, deeper_) : Diagnostics{};
  }

  /// Variants at one time: of a large copy one, which needs a tensor several times over in memory.
  int threads() const { return small_ ? options_.threads : 1; }

  Result<ErrorReport> measure(const ErrorVariant& variant) const {
    const auto start = std::chrono::steady_clock::now();
    ErrorReport report = described(variant);
    NumericsSettings settings = numerics_of(main_->setting, variant);
    settings.keep_weights = options_.own_errors && small_;
    Numerics numerics(std::move(settings));
    const auto done = run_variant(main_->setting, variant, main_->reference, numerics, report.operators);
    if (!done) return fail(done.error());
    fill(report, numerics.statistics(), *done);
    if (options_.own_errors)
      if (auto failed = run_apart(main_->setting, variant, main_->reference, numerics, report.operators);
          !failed.empty())
        return fail(std::move(failed));
    const auto behind = deep_stream(variant, report);
    if (!behind) return fail(behind.error());
    report.growth = growth_of(*behind);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
  }

 private:
  Diagnostics open_weights() {
    executor_.seed = options_.seed;
    executor_.count = false;
    if (options_.weights_file.empty()) {
      SyntheticStatistics statistics = options_.synthetic;
      statistics.stored_as = model_.dtype;
      // One table at both ends: a deviation between the stream's 1 and the logits' 1 / sqrt(hidden).
      if (model_.tie_embeddings) statistics.table_deviation = std::pow(model_.hidden * extent_.width_fraction, -0.25);
      weights_ = std::make_unique<SyntheticWeights>(statistics, options_.seed);
      origin_ = describe(statistics, options_.seed);
      return {};
    }
    auto opened = open_checkpoint(options_.weights_file);
    if (!opened) return opened.error();
    checkpoint_ = std::move(*opened);
    origin_ = fmt::format("real: {}", options_.weights_file);
    if (!checkpoint_->notes().empty()) origin_ += fmt::format(" ({})", checkpoint_->notes());
    executor_.rotary_base = checkpoint_->rotary_base();
    executor_.norm_epsilon = checkpoint_->norm_epsilon();
    executor_.normalise_top_k = checkpoint_->normalise_top_k();
    return {};
  }

  Diagnostics stage(int layers, std::unique_ptr<Stage>& made) {
    made = std::make_unique<Stage>();
    ErrorSetting& setting = made->setting;
    setting.copy = error_copy(model_, layers, extent_.width_fraction, extent_.vocabulary);
    const double tokens = options_.token_ids.empty() ? options_.tokens : static_cast<double>(options_.token_ids.size());
    setting.step = {.new_tokens = tokens, .logits = tokens};
    setting.executor = executor_;
    setting.executor.prompt = options_.token_ids;
    const models::Graph graph = models::build(setting.copy.model, policy_of(setting, {}), setting.step);
    if (Diagnostics problems = check_size(graph); !problems.empty()) return problems;
    small_ = weight_elements(graph) <= held_elements;
    setting.weights = weights_.get();
    if (checkpoint_) {
      auto mapped = map_checkpoint(*checkpoint_, model_, setting.copy.model, setting.copy.layers);
      if (!mapped) return mapped.error();
      mapped_.push_back(std::move(*mapped));
      setting.weights = mapped_.back().get();
    }
    auto reference = run_reference(setting);
    if (!reference) return reference.error();
    made->reference = std::move(*reference);
    return {};
  }

  ErrorReport described(const ErrorVariant& variant) const {
    const ErrorSetting& setting = main_->setting;
    ErrorReport report{.variant = variant.name,
                       .weights = origin_,
                       .real_weights = checkpoint_ != nullptr,
                       .layers = setting.copy.model.layer_count(),
                       .model_layers = model_.layer_count(),
                       .executed_layers = setting.copy.layers,
                       .width_fraction = extent_.width_fraction,
                       .tokens = setting.step.new_tokens,
                       .vocabulary_rows = extent_.vocabulary,
                       .model_vocabulary = model_.vocab};
    report.scaling =
        fmt::format("{} of {} layers ({}), widths x {:g}, {:g} tokens, {:g} of {:g} rows of the vocabulary",
                    report.layers, report.model_layers, fmt::join(report.executed_layers, ", "), report.width_fraction,
                    report.tokens, report.vocabulary_rows, report.model_vocabulary);
    return report;
  }

  void fill(ErrorReport& report, const WeightStatistics& weights, const Execution& done) const {
    report.weight_sqnr_db = decibels(weights.elements > 0 ? std::sqrt(weights.noise / weights.elements) : 0);
    report.weight_density = weights.elements > 0 ? weights.kept / weights.elements : 1;
    report.relative_error = logits_error(main_->reference.execution, done);
    report.sqnr_db = decibels(report.relative_error);
    report.distribution = distribution_error(main_->reference.execution, done);
  }

  /// Errors of the stream behind each layer of the deepest copy there is.
  Result<std::vector<double>> deep_stream(const ErrorVariant& variant, const ErrorReport& report) const {
    if (!deeper_) return stream_errors(report.operators);
    Numerics numerics(numerics_of(deeper_->setting, variant));
    std::vector<OperatorError> errors;
    const auto done = run_variant(deeper_->setting, variant, deeper_->reference, numerics, errors);
    if (!done) return fail(done.error());
    return stream_errors(errors);
  }

  ErrorGrowth growth_of(const std::vector<double>& behind) const {
    ErrorGrowth growth;
    for (int layers : options_.growth_layers)
      if (static_cast<std::size_t>(layers) <= behind.size())
        growth.points.push_back({layers, behind[static_cast<std::size_t>(layers) - 1]});
    fit(growth, model_.layer_count());
    return growth;
  }

  /// Least squares of ln(error) = ln(scale) + exponent ln(layers), through the points that are neither 0 nor beyond numbers.
  static void fit(ErrorGrowth& growth, int depth) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (const GrowthPoint& point : growth.points) {
      if (!(point.relative_error > 0) || !std::isfinite(point.relative_error)) continue;
      const double a = std::log(point.layers), b = std::log(point.relative_error);
      n += 1, x += a, y += b, xx += a * a, xy += a * b;
    }
    const double spread = n * xx - x * x;
    if (n < 1) return;
    growth.exponent = spread > 0 ? (n * xy - x * y) / spread : 0;
    growth.scale = std::exp((y - growth.exponent * x) / n);
    growth.at_full_depth = growth.scale * std::pow(depth, growth.exponent);
  }

  const models::ModelConfig& model_;
  const ErrorOptions& options_;
  Extent extent_{};
  std::string origin_;
  ExecutorOptions executor_;
  std::unique_ptr<SyntheticWeights> weights_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<std::unique_ptr<WeightSource>> mapped_;
  std::unique_ptr<Stage> main_, deeper_;
  bool small_ = false;
};

}  // namespace

Result<std::vector<ErrorReport>> measure_errors(const models::ModelConfig& model,
                                                std::span<const ErrorVariant> variants, const ErrorOptions& options) {
  Study study(model, options);
  if (Diagnostics problems = study.prepare(); !problems.empty()) return fail(std::move(problems));
  std::vector<Result<ErrorReport>> measured(variants.size());
  std::atomic<std::size_t> next = 0;
  auto work = [&] {
    for (std::size_t i = next++; i < variants.size(); i = next++) measured[i] = study.measure(variants[i]);
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < std::min(study.threads(), static_cast<int>(variants.size())); ++i) helpers.emplace_back(work);
    work();
  }
  std::vector<ErrorReport> reports;
  for (Result<ErrorReport>& report : measured) {
    if (!report) return fail(report.error());
    reports.push_back(std::move(*report));
  }
  return reports;
}

Result<ErrorReport> measure_error(const models::ModelConfig& model, const ErrorVariant& variant,
                                  const ErrorOptions& options) {
  auto reports = measure_errors(model, std::span(&variant, 1), options);
  if (!reports) return fail(reports.error());
  return std::move(reports->front());
}

const OperatorError* worst_operator(const ErrorReport& report) {
  const OperatorError* worst = nullptr;
  for (const OperatorError& error : report.operators)
    if (!worst || !(error.relative_error <= worst->relative_error)) worst = &error;
  return worst;
}

}  // namespace gambrel::kernels
