# cmake --install: the library with its headers, the program, the configurations, and what finds them again:
# find_package(gambrel) and pkg-config gambrel.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gambrel)

install(TARGETS gambrel EXPORT gambrelTargets)
install(TARGETS gambrel_cli)
foreach(folder IN LISTS GAMBREL_FOLDERS)
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gambrel FILES_MATCHING PATTERN "*.hpp")
endforeach()
install(FILES ${CMAKE_BINARY_DIR}/generated/base/version.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gambrel/base)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/gambrel)

install(EXPORT gambrelTargets NAMESPACE gambrel:: DESTINATION ${package_dir})
configure_package_config_file(cmake/gambrelConfig.cmake.in ${CMAKE_BINARY_DIR}/gambrelConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/gambrelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/gambrelConfig.cmake ${CMAKE_BINARY_DIR}/gambrelConfigVersion.cmake
  DESTINATION ${package_dir})

# Relative to the .pc file itself, so that `cmake --install --prefix` and a moved tree both work.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH GAMBREL_PC_TO_PREFIX /${pkgconfig_dir} /)
# Without a .pc file of their own.
set(GAMBREL_PC_LIBS "")
if(pagmo_FOUND)
  string(APPEND GAMBREL_PC_LIBS " -lpagmo")
endif()
if(GAMBREL_MPI)
  list(JOIN MPI_CXX_LIBRARIES " " mpi_libraries)
  string(APPEND GAMBREL_PC_LIBS " ${mpi_libraries}")
endif()
configure_file(cmake/gambrel.pc.in ${CMAKE_BINARY_DIR}/gambrel.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/gambrel.pc DESTINATION ${pkgconfig_dir})
