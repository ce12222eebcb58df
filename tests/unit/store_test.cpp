// The measurement store: what goes in comes out; CSV both ways.
#include "kernels/timing/store.hpp"

#include "kernels/timing/judge.hpp"
#include "kernels/timing/statistics.hpp"
#include "tests/unit/gate_support.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;
using gambrel::test::made_up;
using gambrel::test::Scratch;

namespace {

MeasurementStore open(const std::string& path) {
  auto store = MeasurementStore::open(path);
  REQUIRE(store);
  return std::move(*store);
}

std::int64_t save(MeasurementStore& store, const Measurement& m, std::string_view verdict = "passed") {
  const Context context = this_context();
  const auto run = store.begin_run(context, "test");
  REQUIRE(run);
  const auto id = store.save(*run, context, m, verdict);
  REQUIRE(id);
  return *id;
}

}  // namespace

TEST_CASE("store: a measurement comes back whole, from another connection") {
  const Scratch scratch;
  Measurement m = made_up("gemm/f32", 0.8, 1);
  m.sizes = {{"m", 256}, {"n", 4096}};
  m.library = "a library 1.0", m.selected = "jit:x", m.memory = true, m.threads = 2;
  {
    MeasurementStore store = open(scratch.path("a.sqlite"));
    save(store, m);
  }
  MeasurementStore store = open(scratch.path("a.sqlite"));
  const auto all = store.newest();
  REQUIRE(all);
  REQUIRE(all->size() == 1);
  const Measurement& back = all->front();
  CHECK(back.name == m.name);
  CHECK(back.sizes == m.sizes);
  CHECK(back.library == m.library);
  CHECK(back.selected == m.selected);
  CHECK(back.memory);
  CHECK(back.threads == 2);
  CHECK(back.sampled == 40);
  CHECK(back.anchor_work == m.anchor_work);
  CHECK(calm_speeds_of(back, Pace::anchor) == calm_speeds_of(m, Pace::anchor));
}

TEST_CASE("store: a baseline's processes stay apart") {
  MeasurementStore store = open(":memory:");
  const Measurement m = pooled(std::vector{made_up("a", 0.8, 1), made_up("a", 0.7, 2), made_up("a", 0.79, 3)});
  const auto back = store.measurement(save(store, m));
  REQUIRE(back);
  CHECK(back->clean.size() == 120);
  CHECK(back->clean[39].process == 0);
  CHECK(back->clean[80].process == 2);
  CHECK(speed_of(*back, Pace::anchor) == speed_of(m, Pace::anchor));
}

TEST_CASE("store: baselines by name and fingerprint; the last one holds") {
  MeasurementStore store = open(":memory:");
  const Measurement m = made_up("k", 0.8, 1);
  const std::string key = fingerprint(this_context(), m);
  CHECK_FALSE(store.baseline("k", key)->has_value());
  REQUIRE(store.set_baseline(key, save(store, m), "k", 0.01));
  REQUIRE(store.set_baseline(key, save(store, made_up("k", 0.9, 2)), "k", 0.02));
  const auto found = store.baseline("k", key);
  REQUIRE(found.value().has_value());
  CHECK((*found)->spread == 0.02);
  CHECK(efficiency_of((*found)->measurement) == doctest::Approx(0.9).epsilon(0.01));
  CHECK((*found)->recorded.size() == 20);
  CHECK_FALSE(store.baseline("k", "another")->has_value());
  CHECK_FALSE(store.baseline("j", key)->has_value());
}

TEST_CASE("store: history holds what passed, the newest first") {
  MeasurementStore store = open(":memory:");
  const std::string key = fingerprint(this_context(), made_up("k", 0.8, 1));
  for (const double efficiency : {0.1, 0.2, 0.3}) save(store, made_up("k", efficiency, 1));
  save(store, made_up("k", 0.9, 1), "regressed");
  save(store, made_up("k", 0.9, 1), "unmeasured");
  save(store, made_up("other", 0.9, 1));
  const auto past = store.history("k", key, 2);
  REQUIRE(past);
  REQUIRE(past->size() == 2);
  CHECK((*past)[0].efficiency == doctest::Approx(0.3).epsilon(0.01));
  CHECK((*past)[1].efficiency == doctest::Approx(0.2).epsilon(0.01));
  CHECK(efficiency_of(*store.measurement((*past)[1].id)) == (*past)[1].efficiency);
  CHECK_FALSE(store.measurement(99));
  CHECK(store.newest()->size() == 2);
}

TEST_CASE("store: another database is refused by name") {
  const Scratch scratch;
  auto other = Database::open(scratch.path("a.sqlite"));
  REQUIRE(other);
  REQUIRE(other->adopt("shelf", 1, 1, "CREATE TABLE a(x)"));
  const auto store = MeasurementStore::open(scratch.path("a.sqlite"));
  REQUIRE_FALSE(store);
  CHECK(render(store.error()).find("is no measurement store") != std::string::npos);
}

TEST_CASE("csv: columns of a measurement file, the kernels' sizes side by side") {
  Measurement gemm = made_up("gemm", 0.8, 1, 0), softmax = made_up("softmax", 0.5, 1, 0), none = made_up("none", 0.5, 1, 0, 0);
  gemm.sizes = {{"m", 256}, {"n", 4096}, {"k", 64}};
  softmax.kernel = "softmax", softmax.type = "bf16", softmax.sizes = {{"rows", 3}, {"cols", 5}};
  const std::string text = to_csv({gemm, softmax, none}, "this-machine");
  CHECK(text.starts_with("device,op,dtype,m,n,k,rows,cols,measured_us,version,"));
  CHECK(text.find("\nthis-machine,gemm,fp32,256,4096,64,,,687.5,own,") != std::string::npos);
  CHECK(text.find("\nthis-machine,softmax,bf16,,,,3,5,1100,own,") != std::string::npos);
  CHECK(text.find("none") == std::string::npos);

  const auto back = from_csv(text, "out.csv");
  REQUIRE(back);
  REQUIRE(back->size() == 2);
  CHECK(back->front().sizes == gemm.sizes);
  CHECK(back->front().flops == gemm.flops);
  CHECK(median_seconds(back->front()) == doctest::Approx(687.5e-6));
  CHECK(back->back().kernel == "softmax");
}

TEST_CASE("csv: rows of one kernel are its samples; other words become part of its name") {
  const auto rows = from_csv("device,dtype,batch_size,cache,measured_us\ngpu,fp16,4,paged,10\ngpu,fp16,4,paged,12\ngpu,fp16,8,paged,20\n", "dir/decode.csv");
  REQUIRE(rows);
  REQUIRE(rows->size() == 2);
  CHECK(rows->front().name == "decode/gpu/fp16/batch_size4.cache=paged/1t");
  CHECK(rows->front().clean.size() == 2);
  CHECK(rows->front().sizes == std::vector<std::pair<std::string, double>>{{"batch_size", 4}});
  CHECK_FALSE(from_csv("a,b\n1,2\n", "x.csv"));
  const auto wrong = from_csv("a,measured_us\n1,2\n1,-3\n", "x.csv");
  REQUIRE_FALSE(wrong);
  CHECK(render(wrong.error()).find("x.csv:3") != std::string::npos);
  CHECK_FALSE(from_csv("a,measured_us\n1,inf\n", "x.csv"));
}
