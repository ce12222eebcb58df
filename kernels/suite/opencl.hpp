// Inside kernels/suite/ only: the OpenCL that this machine has, loaded at run time; nothing links to it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gambrel::kernels::opencl {

struct DeviceInfo {
  std::string name, type, driver;  ///< type: "CPU", "GPU", "accelerator"
  unsigned compute_units = 0;
};

class Device;
using DevicePtr = std::shared_ptr<const Device>;

/// All devices of all platforms; none if no libOpenCL.so.1 is there or it has no platform.
std::vector<DevicePtr> devices();
const DeviceInfo& info(const Device& device);

/// Memory of a device. Throws std::runtime_error, as all below do, with OpenCL's error code in its text.
class Buffer {
 public:
  Buffer(DevicePtr device, std::size_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void write(const void* from, std::size_t bytes);
  void read(void* to, std::size_t bytes) const;
  void* handle() const { return handle_; }

 private:
  DevicePtr device_;
  void* handle_ = nullptr;
};

/// A kernel of a program that is compiled for the device, with its arguments set once.
class Kernel {
 public:
  /// `options`: for the compiler, "-D TILE=4".
  Kernel(DevicePtr device, const char* source, const char* name, const std::string& options);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  void set(unsigned index, const Buffer& buffer);
  void set(unsigned index, int value);
  /// Runs over a grid and waits; returns the seconds between the device's own start and end events. `local` 0, 0: its choice.
  double run(std::pair<std::size_t, std::size_t> global, std::pair<std::size_t, std::size_t> local);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gambrel::kernels::opencl
