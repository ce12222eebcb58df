// Laws of processors' kernel models: more peak or bandwidth is never slower, larger is never faster, all rates times k
// and all latencies over k is time over k, and no prediction beats its roofline.
#include <rapidcheck.h>

#include "tests/unit/cpu_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

double up_to(double high) { return std::round(std::pow(high, *rc::gen::inRange(0, 1001) / 1000.0)); }

/// Any kind a processor's own models cover, at `scale` times the drawn rows.
struct Drawn {
  KernelKind kind;
  double rows, columns, depth, heads;
};

Drawn any_size() {
  const auto kind = *rc::gen::element(KernelKind::gemm, KernelKind::attention_prefill, KernelKind::attention_decode, KernelKind::moe, KernelKind::elementwise);
  return {kind, up_to(3000), up_to(8000), 16 * up_to(300), up_to(16)};
}

KernelCall call_of(const Drawn& d) {
  const DataType fp32 = Format::fp32;
  KernelCall call{.kind = d.kind, .op = {}, .activations = fp32, .stored = fp32};
  switch (d.kind) {
    case KernelKind::gemm: call.op = models::single_gemm(d.rows, d.columns, d.depth, fp32, fp32, fp32); break;
    case KernelKind::moe:
      call.op = models::single_expert_ffn({.routed = 2 * d.rows, .hidden = d.depth, .inner = d.columns, .experts = d.heads, .hit = d.heads, .top_k = 1}, fp32, fp32);
      break;
    case KernelKind::elementwise: call.op = models::single_vector(models::OpKind::rms_norm, d.rows, d.columns, 3, fp32); break;
    default: {
      const bool decode = d.kind == KernelKind::attention_decode;
      call.op = models::single_attention({.queries = decode ? 1 : d.rows, .past = decode ? d.rows : 0, .heads = 4 * d.heads, .kv_heads = d.heads, .qk_width = 64, .v_width = 64}, fp32, fp32);
    }
  }
  return call;
}

/// Constants drawn anywhere in their ranges.
std::vector<double> any_values(const KernelModel& model) {
  std::vector<double> values;
  for (const Constant& c : model.constants) {
    const double u = *rc::gen::inRange(0, 101) / 100.0;
    values.push_back(c.search == Search::logarithmic ? c.low * std::pow(c.high / c.low, u) : c.low + u * (c.high - c.low));
  }
  return values;
}

double factor() { return 1 + *rc::gen::inRange(0, 50) / 10.0; }

}  // namespace

TEST_CASE("law: a processor with more of anything is never slower") {
  CHECK(rc::check("peak, vector rate, each bandwidth, each capacity", [] {
    const KernelCall call = call_of(any_size());
    const KernelModel& model = model_of(call.kind, ModelSet::processor);
    const auto values = any_values(model);
    const ChipFigures figures = chip_figures(made_up_cpu());
    ChipFigures better = figures;
    for (double& peak : better.peak) peak *= factor();
    better.vector_rate *= factor();
    better.bandwidth *= factor();
    for (CacheFigures& cache : better.caches) cache.bandwidth *= factor(), cache.capacity *= factor();
    RC_ASSERT(model.predict(call, better, values) <= model.predict(call, figures, values) * (1 + 1e-9));
  }));
}

TEST_CASE("law: all rates times k and all latencies over k is time over k, on processors too") {
  CHECK(rc::check("scaling", [] {
    const KernelCall call = call_of(any_size());
    const KernelModel& model = model_of(call.kind, ModelSet::processor);
    auto values = any_values(model);
    const double k = factor();
    ChipFigures figures = chip_figures(made_up_cpu());
    const double before = model.predict(call, figures, values);
    for (double& peak : figures.peak) peak *= k;
    figures.vector_rate *= k;
    figures.bandwidth *= k;
    for (CacheFigures& cache : figures.caches) cache.bandwidth *= k;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (model.constants[i].unit == "s") values[i] /= k;
    RC_ASSERT(std::abs(model.predict(call, figures, values) * k / before - 1) < 1e-9);
  }));
}

TEST_CASE("law: twice the rows are never faster, and no prediction beats its roofline") {
  CHECK(rc::check("size and roofline", [] {
    Drawn size = any_size();
    if (size.kind == KernelKind::gemm) size.rows = std::max(size.rows, 2.0);  // one row is not packed
    const KernelCall call = call_of(size);
    const KernelModel& model = model_of(call.kind, ModelSet::processor);
    const auto values = usual_values(model);
    const KernelPredictor predictor(made_up_cpu(), {});
    const double seconds = predictor.seconds(model, call, values);
    RC_ASSERT(seconds >= predictor.roofline(call));
    size.rows *= 2;
    RC_ASSERT(predictor.seconds(model, call_of(size), values) >= seconds * (1 - 1e-9));
  }));
}
