// Laws of fusion on random models: it changes what touches memory, downwards, and nothing else.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "models/fuse.hpp"
#include "tests/laws/random_model.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

Fusion random_fusion() {
  return {.norms = coin(), .activation = one_of<Epilogue>({Epilogue::none, Epilogue::simple, Epilogue::all}), .rotary = coin()};
}

Graph random_graph() {
  Step step = random_step();
  step.fused_attention = coin(), step.fused_experts = coin();
  return plain_graph(random_model(), step);
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b)); }

}  // namespace

TEST_CASE("law: fusing changes no FLOP, and no byte of weights, caches or state") {
  CHECK(rc::check("same work", [] {
    const Graph before = random_graph(), after = fuse(before, random_fusion());
    RC_ASSERT(after.ops().size() == before.ops().size());
    for (OpId id = 0; id < before.ops().size(); ++id) {
      const Work a = work_of(before, before.op(id)), b = work_of(after, after.op(id));
      RC_ASSERT(a.flops == b.flops);
      RC_ASSERT(a.vector_flops == b.vector_flops);
      for (Role role : {Role::weight, Role::expert_weight, Role::kv_cache, Role::state}) RC_ASSERT(a.bytes(role) == b.bytes(role));
    }
  }));
}

TEST_CASE("law: fusing only lowers each operator's bytes, and never below nothing") {
  CHECK(rc::check("bytes fall", [] {
    const Graph before = random_graph(), after = fuse(before, random_fusion());
    for (OpId id = 0; id < before.ops().size(); ++id) {
      const Work a = work_of(before, before.op(id)), b = work_of(after, after.op(id));
      for (std::size_t role = 0; role < role_count; ++role) {
        RC_ASSERT(b.read_bytes[role] >= 0);
        RC_ASSERT(b.written_bytes[role] >= 0);
        RC_ASSERT(b.read_bytes[role] <= a.read_bytes[role]);
        RC_ASSERT(b.written_bytes[role] <= a.written_bytes[role]);
      }
    }
  }));
}

TEST_CASE("law: what is never written is never read from memory") {
  CHECK(rc::check("no dangling read", [] {
    const Graph graph = fuse(random_graph(), random_fusion());
    for (TensorId t = 0; t < graph.tensors().size(); ++t) {
      bool kept_on_chip = false, read_from_memory = false;
      for (const Op& op : graph.ops())
        for (const Use& use : op.uses)
          if (use.tensor == t) (use.write ? kept_on_chip : read_from_memory) |= use.write ? use.on_chip : !use.on_chip;
      RC_ASSERT(!(kept_on_chip && read_from_memory));
    }
  }));
}

TEST_CASE("law: fusing nothing changes nothing, fusing more never moves more") {
  CHECK(rc::check("monotone", [] {
    const Graph graph = random_graph();
    RC_ASSERT(moved_bytes(fuse(graph, {.norms = false, .activation = Epilogue::none, .rotary = false})) == moved_bytes(graph));
    const Fusion some = random_fusion();
    Fusion more = some;
    more.norms = some.norms || coin(), more.rotary = some.rotary || coin();
    if (coin()) more.activation = Epilogue::all;
    RC_ASSERT(moved_bytes(fuse(graph, more)) <= moved_bytes(fuse(graph, some)));
  }));
}

TEST_CASE("law: fusing layers stored once moves what fusing them written out moves") {
  CHECK(rc::check("grouped == written out", [] {
    const ModelConfig model = random_model();
    const Step step = random_step();
    const Fusion fusion = random_fusion();
    RC_ASSERT(near(moved_bytes(fuse(plain_graph(model, step), fusion)), moved_bytes(fuse(plain_graph(written_out(model), step), fusion))));
  }));
}
