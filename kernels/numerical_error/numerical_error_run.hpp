// Inside kernels/ only: one fp32 run recorded result by result, and runs of variants held against it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/executor/buffer.hpp"
#include "kernels/executor/executor.hpp"
#include "kernels/executor/numerics.hpp"
#include "kernels/numerical_error/numerical_error.hpp"
#include "kernels/numerical_error/numerical_error_copy.hpp"

namespace gambrel::kernels {

/// What all variants have in common.
struct ErrorSetting {
  ErrorCopy copy;
  models::Step step;
  const WeightSource* weights = nullptr;
  ExecutorOptions executor;
};

/// What the fp32 run computed, by the operator that wrote it; an operator's second result is "layers.0.attn.core#1".
struct ErrorReference {
  std::map<std::string, Buffer<float>, std::less<>> results;
  Execution execution;
};

models::PrecisionPolicy policy_of(const ErrorSetting& setting, const ErrorVariant& variant);
Result<ErrorReference> run_reference(const ErrorSetting& setting);

/// The arithmetic of a variant on that copy.
NumericsSettings numerics_of(const ErrorSetting& setting, const ErrorVariant& variant);
/// Runs the variant; `errors`: of every operator, errors of those before it included.
Result<Execution> run_variant(const ErrorSetting& setting, const ErrorVariant& variant, const ErrorReference& reference,
                              Numerics& numerics, std::vector<OperatorError>& errors);
/// Runs it again, each operator on what the fp32 run computed, rounded to the formats it reads: fills own_*.
Diagnostics run_apart(const ErrorSetting& setting, const ErrorVariant& variant, const ErrorReference& reference,
                      Numerics& numerics, std::vector<OperatorError>& errors);

/// Of the stream behind each layer, from the errors of a run: what a layer writes last.
std::vector<double> stream_errors(const std::vector<OperatorError>& errors);

double logits_error(const Execution& reference, const Execution& variant);
DistributionError distribution_error(const Execution& reference, const Execution& variant);
double decibels(double relative_error);

}  // namespace gambrel::kernels
