// Peaks beside something else, and the memory of what is timed.
#include "kernels/timing/peak_watch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/executor/buffer.hpp"

using namespace gambrel::kernels;

TEST_CASE("a peak watch gives each peak's rate, and the clock's at every visit") {
  PeakWatch watch({{Anchor::fma_f32}, {Anchor::read, 1 << 18}});
  CHECK(watch.readings()[0].samples == 0);
  CHECK(watch.readings()[0].rate == 0);
  double fastest = 0;
  for (int i = 0; i < 3; ++i) fastest = std::max(fastest, watch.visit());
  CHECK(fastest > 1e8);
  const auto readings = watch.readings();
  REQUIRE(readings.size() == 2);
  CHECK(readings[1].of.anchor == Anchor::read);
  CHECK(readings[1].of.bytes == 1 << 18);
  for (const PeakReading& reading : readings) {
    CHECK(reading.samples <= 18);
    if (reading.samples > 0) CHECK(reading.rate > 1e7);
  }
}

TEST_CASE("the clock at a moment is the fastest reading within a second of it") {
  const std::vector<ClockReading> readings{{10, 3}, {10.9, 5}, {11.95, 4}, {20, 9}};
  CHECK(clock_near(readings, 10) == 5);
  CHECK(clock_near(readings, 9.8) == 3);
  CHECK(clock_near(readings, 12.5) == 4);
  CHECK(clock_near(readings, 15) == 0);
}

TEST_CASE("peak watch: a clock wanders by a tenth at most; what seems slower was disturbed") {
  CHECK(clock_slowness(100, 106) == doctest::Approx(1.06));
  CHECK(clock_slowness(100, 100) == 1);
  CHECK(clock_slowness(50, 100) == 1);  // a neighbour had half of the core
  CHECK(clock_slowness(0, 100) == 1);   // no clean look
  CHECK(clock_slowness(106, 100) == 1);
}

TEST_CASE("blocks are aligned, and a large one is used again") {
  for (const std::size_t bytes : {1u, 100u, 600u << 10, 5u << 20}) {
    void* const block = take_block(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    give_block(block, bytes);
  }
  void* const one = take_block(3 << 20);
  give_block(one, 3 << 20);
  void* const other = take_block((3 << 20) + 1000);  // as many pages
  CHECK(other == one);
  give_block(other, (3 << 20) + 1000);
}

TEST_CASE("a result that has its shape keeps its memory, another one is zeros") {
  Buffer<float> buffer(4, 8);
  buffer.row(1)[2] = 5;
  buffer.places = {1, 2};
  gambrel::models::Tensor tensor;
  View<float> view(buffer, tensor, false);
  const float* const before = buffer.row(0);
  view.shape(4, 8);
  CHECK(buffer.row(0) == before);
  CHECK(buffer.places.empty());
  view.shape(8, 4);
  CHECK(buffer.rows == 8);
  for (const float x : buffer.data) CHECK(x == 0);
}
