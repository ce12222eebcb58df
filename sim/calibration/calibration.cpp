#include "sim/calibration/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/schema.hpp"
#include "base/version.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {
namespace {

/// The widest error we have seen a transfer make; for kernels whose transfer, or whose own error, was never measured.
constexpr double unknown_transfer_error = 0.5;

Score read_score(const Node* node) {
  if (!node) return {};
  return {static_cast<std::size_t>(node->number_or("rows", 0)), node->number_or("mean", 0), node->number_or("median", 0), node->number_or("p90", 0), node->number_or("bias", 0)};
}

Node score_node(const Score& score) {
  Node node = Node::mapping();
  node.set("rows", Node::of(static_cast<double>(score.rows)));
  for (auto [key, value] : {std::pair{"mean", score.mean}, {"median", score.median}, {"p90", score.p90}, {"bias", score.bias}})
    node.set(key, Node::of(std::round(value * 1e5) / 1e5));
  return node;
}

Result<std::vector<double>> read_constants(const Node& node, const KernelModel& model) {
  std::vector<double> values;
  std::vector<std::string> names;
  for (const Constant& c : model.constants) names.emplace_back(c.name);
  for (const Member& m : node.members)
    if (!std::ranges::count(names, m.key))
      return fail({m.key_at, fmt::format("{} has no constant '{}'", to_string(model.kind), m.key), fmt::format("it has {}", fmt::join(names, ", "))});
  for (const Constant& c : model.constants) {
    const Node* value = node.find(c.name);
    if (value && (value->number < c.low || value->number > c.high))
      return fail({value->at, fmt::format("constant '{}' is {}, out of its range", c.name, value->number), fmt::format("from {} to {} {}", c.low, c.high, c.unit)});
    values.push_back(value ? value->number : c.usual);
  }
  return values;
}

Result<KernelFit> read_fit(const Node& node, ModelSet models) {
  KernelFit fit;
  const Node& name = *node.find("kernel");
  const auto kind = parse_kernel_kind(name.text);
  if (!kind) return fail({name.at, fmt::format("'{}' is no kind of kernel", name.text), "as `gambrel estimate-ops --op` names them"});
  fit.kernel = *kind;
  fit.type = node.text_or("type", "");
  auto values = read_constants(*node.find("constants"), model_of(*kind, models));
  if (!values) return fail(values.error());
  fit.values = std::move(*values);
  fit.fitted = read_score(node.find("fitted"));
  fit.reported = read_score(node.find("reported"));
  if (const Node* regimes = node.find("regimes"))
    for (const Member& m : regimes->members) fit.regimes.emplace_back(m.key, read_score(&m.value));
  if (const Node* from = node.find("measurements")) {
    fit.file = from->text_or("file", "");
    fit.file_hash = from->text_or("xxh3", "");
    fit.date = from->text_or("date", "");
    fit.split = from->text_or("split", "");
  }
  return fit;
}

SustainedFit read_sustained(const Node& node) {
  return {node.number_or("share", 1), node.number_or("tdp", 0), read_score(node.find("fitted")), read_score(node.find("reported")), node.text_or("suite", ""), node.text_or("date", ""), node.text_or("split", "")};
}

Node sustained_node(const SustainedFit& fit) {
  Node node = Node::mapping();
  node.set("share", Node::of(std::round(fit.share * 1e4) / 1e4));
  if (fit.tdp > 0) node.set("tdp", Node::of(fit.tdp));
  for (auto [key, text] : {std::pair{"suite", &fit.suite}, {"date", &fit.date}, {"split", &fit.split}}) node.set(key, Node::of(*text));
  node.set("fitted", score_node(fit.fitted));
  node.set("reported", score_node(fit.reported));
  return node;
}

Result<Calibration> load_calibration(const Catalog& catalog, const std::string& chip) {
  if (chip.empty() || !catalog.has("calibrations", chip)) return Calibration{};
  return catalog.load("calibrations", chip).and_then([](const Node& document) -> Result<Calibration> {
    if (Diagnostics problems = validate(document, "calibration"); !problems.empty()) return fail(problems);
    return read_calibration(document);
  });
}

}  // namespace

const KernelFit* Calibration::find(KernelKind kernel, std::string_view type) const {
  for (const KernelFit& fit : fits)
    if (fit.kernel == kernel && (type.empty() || fit.type == type)) return &fit;
  for (const KernelFit& fit : fits)
    if (fit.kernel == kernel && fit.type.starts_with(type) && fit.type[type.size()] == '/') return &fit;
  return nullptr;
}

Result<Calibration> read_calibration(const Node& document) {
  Calibration calibration{.chip = document.text_or("calibration", ""), .fits = {}, .sustained = {}};
  calibration.models = parse_model_set(document.text_or("models", "")).value_or(ModelSet::accelerator);
  if (const Node* sustained = document.find("sustained")) calibration.sustained = read_sustained(*sustained);
  for (const Node& item : document.find("kernels")->items) {
    auto fit = read_fit(item, calibration.models);
    if (!fit) return fail(fit.error());
    calibration.fits.push_back(std::move(*fit));
  }
  return calibration;
}

Node to_node(const Calibration& calibration) {
  Node root = Node::mapping();
  root.set("calibration", Node::of(calibration.chip));
  root.set("written_by", Node::of(fmt::format("gambrel calibrate {}", version())));
  if (calibration.models != ModelSet::accelerator) root.set("models", Node::of(to_string(calibration.models)));
  if (calibration.sustained) root.set("sustained", sustained_node(*calibration.sustained));
  Node& kernels = root.set("kernels", Node::sequence());
  for (const KernelFit& fit : calibration.fits) {
    Node& node = kernels.append(Node::mapping());
    node.set("kernel", Node::of(to_string(fit.kernel)));
    node.set("type", Node::of(fit.type));
    Node& constants = node.set("constants", Node::mapping());
    const KernelModel& model = model_of(fit.kernel, calibration.models);
    for (std::size_t i = 0; i < fit.values.size(); ++i) {
      const Constant& c = model.constants[i];
      constants.set(c.name, Node::of(std::clamp(std::stod(fmt::format("{:.6g}", fit.values[i])), c.low, c.high)));  // rounding may leave the range
    }
    Node& from = node.set("measurements", Node::mapping());
    for (auto [key, text] : {std::pair{"file", &fit.file}, {"xxh3", &fit.file_hash}, {"date", &fit.date}, {"split", &fit.split}}) from.set(key, Node::of(*text));
    node.set("fitted", score_node(fit.fitted));
    node.set("reported", score_node(fit.reported));
    Node& regimes = node.set("regimes", Node::mapping());
    for (const auto& [name, score] : fit.regimes) regimes.set(name, score_node(score));
  }
  return root;
}

Result<CalibrationBook> CalibrationBook::load(const Catalog& catalog, const hw::Chip& chip, const std::string& system) {
  CalibrationBook book;
  auto own = load_calibration(catalog, chip.id);
  if (!own) return fail(own.error());
  book.own_ = std::move(*own);
  if (system != chip.id) {
    auto nodes = load_calibration(catalog, system);
    if (!nodes) return fail(nodes.error());
    book.own_.fits.insert(book.own_.fits.begin(), nodes->fits.begin(), nodes->fits.end());
  }
  if (!catalog.has("calibrations", "families")) return book;
  auto families = catalog.load("calibrations", "families");
  if (!families) return fail(families.error());
  if (Diagnostics problems = validate(*families, "families"); !problems.empty()) return fail(problems);
  const Node* lenders = families->find("families")->find(chip.family);
  if (lenders) book.tdp_ = chip.tdp.value;
  else lenders = families->find("kinds")->find(hw::to_string(chip.kind));
  for (const Node& lender : lenders ? lenders->items : std::vector<Node>{}) {
    if (lender.text == chip.id) continue;
    auto lent = load_calibration(catalog, lender.text);
    if (!lent) return fail(lent.error());
    if (lent->models != model_set(chip.kind)) continue;  // other models' constants mean nothing here
    book.lent_.push_back(std::move(*lent));
  }
  if (const Node* errors = families->find("transfer_error"))
    for (const Member& m : errors->members) book.transfer_error_.emplace_back(m.key, m.value.number);
  return book;
}

double CalibrationBook::sustained() const {
  if (own_.sustained) return own_.sustained->share;
  double sum = 0, count = 0;
  for (const Calibration& lender : lent_)
    if (const auto& fit = lender.sustained) {
      const double power = tdp_ > 0 && fit->tdp > tdp_ ? std::cbrt(tdp_ / fit->tdp) : 1;
      sum += fit->share * power, ++count;
    }
  return count > 0 ? sum / count : 1;
}

CalibrationBook CalibrationBook::for_models() const {
  CalibrationBook book = *this;
  auto forget = [](Calibration& calibration) {
    for (KernelFit& fit : calibration.fits) forget_measurement(model_of(fit.kernel, calibration.models), fit.values);
  };
  forget(book.own_);
  for (Calibration& lender : book.lent_) forget(lender);
  return book;
}

CalibrationBook::Found CalibrationBook::find(KernelKind kernel, std::string_view type, ModelSet models) const {
  const auto known = std::ranges::find(transfer_error_, to_string(kernel), &std::pair<std::string, double>::first);
  const double transfer = known == transfer_error_.end() ? unknown_transfer_error : known->second;
  const auto fit_of = [&](const Calibration& calibration, std::string_view wanted) { return calibration.models == models ? calibration.find(kernel, wanted) : nullptr; };
  const auto lent = [&](const KernelFit* fit) { return Found{fit, Provenance::transferred, std::max(fit->reported.p90, transfer)}; };
  if (const KernelFit* fit = fit_of(own_, type)) return {fit, Provenance::calibrated, fit->reported.rows > 0 ? fit->reported.p90 : unknown_transfer_error};
  for (std::string_view wanted : {type, std::string_view{}}) {
    if (const KernelFit* fit = fit_of(own_, wanted)) return lent(fit);
    for (const Calibration& lender : lent_)
      if (const KernelFit* fit = fit_of(lender, wanted)) return lent(fit);
  }
  return {};
}

}  // namespace gambrel::sim
