// libOpenCL.so.1 by dlopen: the program starts without it, and uses whatever device its loader knows.
#define CL_TARGET_OPENCL_VERSION 120
#include "kernels/suite/opencl.hpp"

#include <CL/cl.h>
#include <dlfcn.h>

#include <stdexcept>

namespace gambrel::kernels::opencl {
namespace {

/// The functions used, found once; `loaded` only if every one is there.
struct Api {
  decltype(&clGetPlatformIDs) get_platforms = nullptr;
  decltype(&clGetDeviceIDs) get_devices = nullptr;
  decltype(&clGetDeviceInfo) device_info = nullptr;
  decltype(&clCreateContext) create_context = nullptr;
  decltype(&clReleaseContext) release_context = nullptr;
  decltype(&clCreateCommandQueue) create_queue = nullptr;
  decltype(&clReleaseCommandQueue) release_queue = nullptr;
  decltype(&clCreateBuffer) create_buffer = nullptr;
  decltype(&clReleaseMemObject) release_buffer = nullptr;
  decltype(&clEnqueueWriteBuffer) write = nullptr;
  decltype(&clEnqueueReadBuffer) read = nullptr;
  decltype(&clCreateProgramWithSource) create_program = nullptr;
  decltype(&clBuildProgram) build = nullptr;
  decltype(&clGetProgramBuildInfo) build_info = nullptr;
  decltype(&clReleaseProgram) release_program = nullptr;
  decltype(&clCreateKernel) create_kernel = nullptr;
  decltype(&clReleaseKernel) release_kernel = nullptr;
  decltype(&clSetKernelArg) set_argument = nullptr;
  decltype(&clEnqueueNDRangeKernel) enqueue = nullptr;
  decltype(&clWaitForEvents) wait = nullptr;
  decltype(&clGetEventProfilingInfo) profile = nullptr;
  decltype(&clReleaseEvent) release_event = nullptr;
  bool loaded = false;
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

// The library stays open: its threads outlive any one suite.
Api load() {
  Api a;
  void* const l = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
  if (l == nullptr) return a;
  a.loaded = find(l, "clGetPlatformIDs", a.get_platforms) && find(l, "clGetDeviceIDs", a.get_devices) &&
             find(l, "clGetDeviceInfo", a.device_info) && find(l, "clCreateContext", a.create_context) &&
             find(l, "clReleaseContext", a.release_context) && find(l, "clCreateCommandQueue", a.create_queue) &&
             find(l, "clReleaseCommandQueue", a.release_queue) && find(l, "clCreateBuffer", a.create_buffer) &&
             find(l, "clReleaseMemObject", a.release_buffer) && find(l, "clEnqueueWriteBuffer", a.write) &&
             find(l, "clEnqueueReadBuffer", a.read) && find(l, "clCreateProgramWithSource", a.create_program) &&
             find(l, "clBuildProgram", a.build) && find(l, "clGetProgramBuildInfo", a.build_info) &&
             find(l, "clReleaseProgram", a.release_program) && find(l, "clCreateKernel", a.create_kernel) &&
             find(l, "clReleaseKernel", a.release_kernel) && find(l, "clSetKernelArg", a.set_argument) &&
             find(l, "clEnqueueNDRangeKernel", a.enqueue) && find(l, "clWaitForEvents", a.wait) &&
             find(l, "clGetEventProfilingInfo", a.profile) && find(l, "clReleaseEvent", a.release_event);
  return a;
}

const Api& api() {
  static const Api loaded = load();
  return loaded;
}

void check(cl_int code, const char* what) {
  if (code != CL_SUCCESS) throw std::runtime_error(std::string("OpenCL: ") + what + " failed with error " + std::to_string(code));
}

std::string text(cl_device_id id, cl_device_info what) {
  std::size_t size = 0;
  if (api().device_info(id, what, 0, nullptr, &size) != CL_SUCCESS || size == 0) return "";
  std::string value(size, '\0');
  if (api().device_info(id, what, size, value.data(), nullptr) != CL_SUCCESS) return "";
  value.resize(size - 1);
  return value;
}

DeviceInfo describe(cl_device_id id) {
  cl_device_type type = 0;
  cl_uint units = 0;
  api().device_info(id, CL_DEVICE_TYPE, sizeof type, &type, nullptr);
  api().device_info(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, nullptr);
  const char* const kind = type & CL_DEVICE_TYPE_GPU ? "GPU" : type & CL_DEVICE_TYPE_CPU ? "CPU" : "accelerator";
  return {.name = text(id, CL_DEVICE_NAME), .type = kind, .driver = text(id, CL_DRIVER_VERSION), .compute_units = units};
}

}  // namespace

class Device {
 public:
  explicit Device(cl_device_id device) : id(device), described(describe(device)) {
    cl_int code = CL_SUCCESS;
    context = api().create_context(nullptr, 1, &id, nullptr, nullptr, &code);
    check(code, "clCreateContext");
    queue = api().create_queue(context, id, CL_QUEUE_PROFILING_ENABLE, &code);
    if (code != CL_SUCCESS) api().release_context(context);
    check(code, "clCreateCommandQueue");
  }
  ~Device() {
    api().release_queue(queue);
    api().release_context(context);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  cl_device_id id;
  DeviceInfo described;
  cl_context context = nullptr;
  cl_command_queue queue = nullptr;
};

const DeviceInfo& info(const Device& device) { return device.described; }

std::vector<DevicePtr> devices() {
  std::vector<DevicePtr> found;
  cl_uint count = 0;
  if (!api().loaded || api().get_platforms(0, nullptr, &count) != CL_SUCCESS || count == 0) return found;
  std::vector<cl_platform_id> platforms(count);
  if (api().get_platforms(count, platforms.data(), nullptr) != CL_SUCCESS) return found;
  for (cl_platform_id platform : platforms) {
    if (api().get_devices(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &count) != CL_SUCCESS || count == 0) continue;
    std::vector<cl_device_id> ids(count);
    if (api().get_devices(platform, CL_DEVICE_TYPE_ALL, count, ids.data(), nullptr) != CL_SUCCESS) continue;
    for (cl_device_id id : ids) try {
        found.push_back(std::make_shared<Device>(id));
      } catch (const std::runtime_error&) {  // a device that gives no context has nothing to measure
      }
  }
  return found;
}

Buffer::Buffer(DevicePtr device, std::size_t bytes) : device_(std::move(device)) {
  cl_int code = CL_SUCCESS;
  handle_ = api().create_buffer(device_->context, CL_MEM_READ_WRITE, bytes, nullptr, &code);
  check(code, "clCreateBuffer");
}
Buffer::~Buffer() { api().release_buffer(static_cast<cl_mem>(handle_)); }
void Buffer::write(const void* from, std::size_t bytes) {
  check(api().write(device_->queue, static_cast<cl_mem>(handle_), CL_TRUE, 0, bytes, from, 0, nullptr, nullptr), "clEnqueueWriteBuffer");
}
void Buffer::read(void* to, std::size_t bytes) const {
  check(api().read(device_->queue, static_cast<cl_mem>(handle_), CL_TRUE, 0, bytes, to, 0, nullptr, nullptr), "clEnqueueReadBuffer");
}

struct Kernel::State {
  DevicePtr device;
  cl_program program = nullptr;
  cl_kernel kernel = nullptr;
  ~State() {
    if (kernel != nullptr) api().release_kernel(kernel);
    if (program != nullptr) api().release_program(program);
  }
};

Kernel::Kernel(DevicePtr device, const char* source, const char* name, const std::string& options) : state_(std::make_unique<State>()) {
  cl_int code = CL_SUCCESS;
  state_->device = std::move(device);
  const Device& on = *state_->device;
  state_->program = api().create_program(on.context, 1, &source, nullptr, &code);
  check(code, "clCreateProgramWithSource");
  if (api().build(state_->program, 1, &on.id, options.c_str(), nullptr, nullptr) != CL_SUCCESS) {
    std::string log(4096, '\0');
    std::size_t used = 0;
    api().build_info(state_->program, on.id, CL_PROGRAM_BUILD_LOG, log.size(), log.data(), &used);
    throw std::runtime_error("OpenCL: building '" + std::string(name) + "' failed: " + log.c_str());
  }
  state_->kernel = api().create_kernel(state_->program, name, &code);
  check(code, "clCreateKernel");
}
Kernel::~Kernel() = default;

void Kernel::set(unsigned index, const Buffer& buffer) {
  const auto memory = static_cast<cl_mem>(buffer.handle());
  check(api().set_argument(state_->kernel, index, sizeof memory, &memory), "clSetKernelArg");
}
void Kernel::set(unsigned index, int value) { check(api().set_argument(state_->kernel, index, sizeof value, &value), "clSetKernelArg"); }

double Kernel::run(std::pair<std::size_t, std::size_t> global, std::pair<std::size_t, std::size_t> local) {
  const std::size_t all[] = {global.first, global.second}, group[] = {local.first, local.second};
  cl_event event = nullptr;
  check(api().enqueue(state_->device->queue, state_->kernel, 2, nullptr, all, local.first == 0 ? nullptr : group, 0, nullptr, &event), "clEnqueueNDRangeKernel");
  cl_ulong begin = 0, end = 0;
  const cl_int code = api().wait(1, &event);
  api().profile(event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, nullptr);
  api().profile(event, CL_PROFILING_COMMAND_END, sizeof end, &end, nullptr);
  api().release_event(event);
  check(code, "clWaitForEvents");
  return static_cast<double>(end - begin) * 1e-9;
}

}  // namespace gambrel::kernels::opencl
