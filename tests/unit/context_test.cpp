// The fingerprint of what was measured, and where: which facts decide.
#include "kernels/timing/context.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/unit/gate_support.hpp"

using namespace gambrel::kernels;
using gambrel::test::made_up;

TEST_CASE("context: clocks, dates and hosts do not decide; library and code path do") {
  Context context = this_context();
  const Measurement m = made_up("a", 0.9, 1);
  const std::string key = fingerprint(context, m);
  CHECK(key.size() == 32);
  CHECK(key == fingerprint(this_context(), m));
  for (Fact& fact : context) {
    CHECK(fact.name.find("MHz") == std::string::npos);
    const std::string was = fact.value;
    fact.value += "x";
    CHECK_MESSAGE((fingerprint(context, m) == key) == !fact.decides, fact.name);
    fact.value = was;
  }
  for (auto member : {&Measurement::library, &Measurement::selected, &Measurement::type}) {
    Measurement other = m;
    other.*member += "x";
    CHECK(fingerprint(context, other) != key);
  }
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  CHECK(fingerprint(this_context(), m) != key);
  unsetenv("OPENBLAS_CORETYPE");
  // What CUDA obeys is nothing to a kernel of the CPU.
  Measurement on_device = m;
  on_device.library = "CUDA: a device (GPU), cuBLAS";
  const std::string device_key = fingerprint(this_context(), on_device);
  for (const char* variable : {"CUDA_HOME", "CUDA_LAUNCH_BLOCKING"}) {
    setenv(variable, "1", 1);
    CHECK(fingerprint(this_context(), m) == key);
    CHECK((fingerprint(this_context(), on_device) == device_key) == (std::string_view(variable) == "CUDA_HOME"));
    unsetenv(variable);
  }
}
