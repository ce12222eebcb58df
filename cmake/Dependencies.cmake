# Everything comes from Debian packages (scripts/packages.txt); nothing is downloaded.
find_package(fmt 9 REQUIRED)
find_package(yaml-cpp 0.7 REQUIRED)
find_package(tl-expected 1.0 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(Threads REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(SQLite3 3.40 REQUIRED)
find_package(TBB 2021 REQUIRED)
find_package(benchmark 1.7 REQUIRED)

# Vendor kernels that the measured suite runs; OpenCL is loaded at run time, only its headers are needed.
find_package(dnnl 2.6 REQUIRED)
find_package(OpenBLAS 0.3 REQUIRED)
find_path(GAMBREL_OPENCL_HEADERS CL/cl.h REQUIRED)
mark_as_advanced(GAMBREL_OPENCL_HEADERS)

# Used if they are there.
find_package(pagmo 2.18 QUIET)
if(GAMBREL_MPI)
  find_package(MPI REQUIRED COMPONENTS CXX)
endif()

# Packages without a CMake configuration of their own, and NLopt, whose configuration names no plain library.
find_path(GAMBREL_MUSTACHE_DIR kainjow/mustache.hpp REQUIRED)
find_path(GAMBREL_VALIJSON_DIR valijson/validator.hpp REQUIRED)
find_library(GAMBREL_XXHASH xxhash REQUIRED)
find_library(GAMBREL_NLOPT nlopt REQUIRED)
mark_as_advanced(GAMBREL_MUSTACHE_DIR GAMBREL_VALIJSON_DIR GAMBREL_XXHASH GAMBREL_NLOPT)

# What only our .cpp files include: a consumer of the installed library does not need these packages.
add_library(gambrel_header_only INTERFACE)
target_include_directories(gambrel_header_only SYSTEM INTERFACE ${GAMBREL_MUSTACHE_DIR} ${GAMBREL_VALIJSON_DIR})
target_link_libraries(gambrel_header_only INTERFACE nlohmann_json::nlohmann_json Boost::headers Eigen3::Eigen)
