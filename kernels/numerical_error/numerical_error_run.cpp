// Results are matched by the name of the operator that wrote them; rows that were routed, by their expert.
#include "kernels/numerical_error/numerical_error_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>

#include "kernels/numerics/error.hpp"

namespace gambrel::kernels {
namespace {

using models::OpKind;

/// Expert indices and token numbers are no quantities.
bool is_compared(const models::Op& op) { return op.kind != OpKind::router_topk && op.kind != OpKind::sampling; }

/// Tells several results of an operator apart.
class ResultNames {
 public:
  std::string next(const std::string& name) {
    const int before = seen_[name]++;
    return before == 0 ? name : fmt::format("{}#{}", name, before);
  }

 private:
  std::map<std::string, int> seen_;
};

Result<Execution> run_copy(const ErrorSetting& setting, const ErrorVariant& variant, const Numerics& numerics) {
  models::Step step = setting.step;
  step.sparsity = variant.sparsity;
  ExecutorOptions options = setting.executor;
  options.numerics = &numerics;
  return Executor<float>(setting.copy.model, {}, options)
      .run(models::build(setting.copy.model, policy_of(setting, variant), step), step);
}

/// Of the rows that went to the same expert in both runs: the others have no counterpart.
double routed_error(const Buffer<float>& reference, const Buffer<float>& result) {
  std::vector<float> wanted, values;
  for (std::size_t row = 0; row < std::min(reference.rows, result.rows); ++row) {
    if (reference.tags[row].expert != result.tags[row].expert) continue;
    wanted.insert(wanted.end(), reference.row(row), reference.row(row) + reference.width);
    values.insert(values.end(), result.row(row), result.row(row) + result.width);
  }
  return relative_error(wanted, values);
}

double error_of(const Buffer<float>& reference, const Buffer<float>& result) {
  return reference.tags.empty() ? relative_error(reference.data, result.data) : routed_error(reference, result);
}

double nonzero_share(const Buffer<float>& result) {
  const auto zeros = std::ranges::count(result.data, 0.0F);
  return result.data.empty() ? 1 : 1 - static_cast<double>(zeros) / static_cast<double>(result.data.size());
}

/// 7 of "layers.7.attn.qkv", -1 outside the layers.
int layer_of(const std::string& name) { return name.starts_with("layers.") ? std::atoi(name.c_str() + 7) : -1; }

std::vector<double> softmax(std::span<const double> logits) {
  const double top = *std::ranges::max_element(logits);
  std::vector<double> p;
  double sum = 0;
  for (double x : logits) p.push_back(std::exp(x - top)), sum += p.back();
  for (double& value : p) value /= sum;
  return p;
}

/// Of one position, from both rows of logits: ln p - ln q needs no quotient of numbers that underflow.
double kl_divergence(std::span<const double> wanted, std::span<const double> values, std::span<const double> p) {
  auto log_sum = [](std::span<const double> x) {
    const double top = *std::ranges::max_element(x);
    double sum = 0;
    for (double value : x) sum += std::exp(value - top);
    return top + std::log(sum);
  };
  const double shift = log_sum(values) - log_sum(wanted);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * (wanted[i] - values[i] + shift);
  return sum < 0 ? 0 : sum;  // by rounding; NaN stays
}

double entropy(std::span<const double> p) {
  double sum = 0;
  for (double value : p) sum -= value > 0 ? value * std::log(value) : 0;
  return sum;
}

}  // namespace

double decibels(double relative_error) {
  return relative_error == 0 ? std::numeric_limits<double>::infinity() : -20 * std::log10(relative_error);
}

models::PrecisionPolicy policy_of(const ErrorSetting& setting, const ErrorVariant& variant) {
  const models::ModelConfig& model = setting.copy.model;
  return {model.dtype, model.precision, translated(variant.precision, setting.copy.layers)};
}

NumericsSettings numerics_of(const ErrorSetting& setting, const ErrorVariant& variant) {
  return {.weights = setting.weights,
          .policy = policy_of(setting, variant),
          .sparsity = variant.sparsity,
          .accumulator = variant.accumulator};
}

Result<ErrorReference> run_reference(const ErrorSetting& setting) {
  ErrorReference reference;
  ResultNames names;
  Numerics numerics({.weights = setting.weights, .rounds = false});
  numerics.observe([&](const WrittenResult& r) { reference.results.emplace(names.next(r.name), r.values); });
  auto done = run_copy(setting, {}, numerics);
  if (!done) return fail(done.error());
  reference.execution = std::move(*done);
  return reference;
}

Result<Execution> run_variant(const ErrorSetting& setting, const ErrorVariant& variant, const ErrorReference& reference,
                              Numerics& numerics, std::vector<OperatorError>& errors) {
  ResultNames names;
  numerics.observe([&](const WrittenResult& r) {
    const std::string name = names.next(r.name);
    const auto wanted = reference.results.find(name);
    if (!is_compared(r.op) || wanted == reference.results.end()) return;
    OperatorError error{.name = name, .kind = to_string(r.op.kind), .layer = layer_of(name)};
    error.relative_error = error_of(wanted->second, r.values);
    error.sqnr_db = decibels(error.relative_error);
    error.nonzero = nonzero_share(r.values);
    errors.push_back(std::move(error));
  });
  return run_copy(setting, variant, numerics);
}

Diagnostics run_apart(const ErrorSetting& setting, const ErrorVariant& variant, const ErrorReference& reference,
                      Numerics& numerics, std::vector<OperatorError>& errors) {
  ResultNames names;
  numerics.observe([&](const WrittenResult& r) {
    const std::string name = names.next(r.name);
    const auto wanted = reference.results.find(name);
    if (wanted == reference.results.end()) return;
    const auto error = std::ranges::find(errors, name, &OperatorError::name);
    if (error != errors.end()) {
      error->own_relative_error = error_of(wanted->second, r.values);
      error->own_sqnr_db = decibels(error->own_relative_error);
    }
    r.values = wanted->second;
    if (is_compared(r.op)) numerics.round(r.tensor, r.spec, r.values.data);
  });
  const auto done = run_copy(setting, variant, numerics);
  return done ? Diagnostics{} : done.error();
}

std::vector<double> stream_errors(const std::vector<OperatorError>& errors) {
  std::vector<double> behind;
  for (const OperatorError& error : errors)
    if (error.layer >= 0) {
      behind.resize(static_cast<std::size_t>(error.layer) + 1);
      behind.back() = error.relative_error;
    }
  return behind;
}

double logits_error(const Execution& reference, const Execution& variant) {
  const std::vector<float> wanted(reference.logits.begin(), reference.logits.end()),
      values(variant.logits.begin(), variant.logits.end());
  return relative_error(wanted, values);
}

DistributionError distribution_error(const Execution& reference, const Execution& variant) {
  DistributionError sum{.top1_agreement = 0};
  const std::size_t width = reference.vocabulary;
  for (std::size_t row = 0; row < reference.rows; ++row) {
    const auto wanted = std::span(reference.logits).subspan(row * width, width),
               values = std::span(variant.logits).subspan(row * width, width);
    const std::vector<double> p = softmax(wanted);
    sum.kl_divergence += kl_divergence(wanted, values, p);
    sum.reference_entropy += entropy(p);
    sum.top1_agreement +=
        std::ranges::max_element(wanted) - wanted.begin() == std::ranges::max_element(values) - values.begin();
  }
  const auto rows = static_cast<double>(reference.rows);
  return {sum.kl_divergence / rows, sum.top1_agreement / rows, sum.reference_entropy / rows};
}

}  // namespace gambrel::kernels
