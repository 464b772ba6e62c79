# Headers, find_package(fbq) and pkg-config fbq. The component "fbq" holds all of it.
#
# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fbq)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY include/fbq DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT fbq)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT fbq)

set(targets fbq)
if(FBQ_BUILD_IMPL)
  list(APPEND targets fbq_impl)
endif()
install(TARGETS ${targets} EXPORT fbqTargets COMPONENT fbq
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT fbq)
install(EXPORT fbqTargets NAMESPACE fbq:: DESTINATION ${package_dir} COMPONENT fbq)

configure_package_config_file(cmake/fbqConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/fbqConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change the API. The headers fit any pointer size, the library not.
set(any_architecture ARCH_INDEPENDENT)
if(FBQ_BUILD_IMPL)
  set(any_architecture "")
endif()
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/fbqConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ${any_architecture})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fbqConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/fbqConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT fbq)

# The prefix is found from the file's own place, so that an installed tree can be moved.
file(RELATIVE_PATH pc_prefix "/${pkgconfig_dir}" "/")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
set(pc_libs "")
if(CMAKE_DL_LIBS)
  set(pc_libs "-l${CMAKE_DL_LIBS}")
endif()
set(pc_files fbq)
if(FBQ_BUILD_IMPL)
  list(APPEND pc_files fbq-impl)
endif()
foreach(name IN LISTS pc_files)
  configure_file(cmake/${name}.pc.in ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${pkgconfig_dir} COMPONENT fbq)
endforeach()
