// GAMBREL_VECTORS for a while.
#pragma once

#include <cstdlib>
#include <string>

class WithVectors {
 public:
  explicit WithVectors(const std::string& name) {
    if (const char* set = std::getenv("GAMBREL_VECTORS")) before_ = set;
    setenv("GAMBREL_VECTORS", name.c_str(), 1);
  }
  ~WithVectors() {
    if (before_.empty()) unsetenv("GAMBREL_VECTORS");
    else setenv("GAMBREL_VECTORS", before_.c_str(), 1);
  }
  WithVectors(const WithVectors&) = delete;
  WithVectors& operator=(const WithVectors&) = delete;

 private:
  std::string before_;
};
