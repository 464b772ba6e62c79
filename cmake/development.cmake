# What fbq's own tests, tools and examples share. None of it reaches a user's build.
#
# SPDX-License-Identifier: Apache-2.0
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# dlopen("libnvrtc.so.13") looks along the caller's own run path, so that a toolkit in build/ is
# found with no environment variable.
set(CMAKE_BUILD_RPATH ${FBQ_CUDA_LIB_DIR})

add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-Wall> $<$<COMPILE_LANGUAGE:C,CXX>:-Wextra>
                    $<$<COMPILE_LANGUAGE:C,CXX>:-Wpedantic> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>)
if(FBQ_WERROR)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()
if(FBQ_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=address,undefined>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-sanitize-recover=all>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-omit-frame-pointer>)
  # CMake links CUDA programs with the host's compiler.
  add_link_options(-fsanitize=address,undefined)
endif()

if(FBQ_BUILD_TESTS)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(CMOCKA REQUIRED cmocka)
endif()

# fbq_add_folder(<folder>): add_subdirectory where the folder has something to build.
function(fbq_add_folder folder)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt)
    add_subdirectory(${folder})
  endif()
endfunction()

# fbq_set_test(<test> LABEL <label> [TIMEOUT <seconds>])
#
# What every test of ours has: a label, a time limit, 77 as the exit status that means "skipped".
function(fbq_set_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT" "")
  if(NOT arg_LABEL)
    message(FATAL_ERROR "fbq_set_test(${name}): LABEL is missing; expected one of unit, simt, nvrtc, "
                        "gpu, consumer, docs")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  set_tests_properties(${name} PROPERTIES
    LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77
    # No test takes what is cached from elsewhere, and none leaves anything there.
    ENVIRONMENT_MODIFICATION "FBQ_CACHE_DIR=set:/dev/null/none")
  if(FBQ_SANITIZE)
    # AddressSanitizer's own dlopen does not know the program's run path.
    set_property(TEST ${name} APPEND PROPERTY
      ENVIRONMENT_MODIFICATION "LD_LIBRARY_PATH=path_list_prepend:${FBQ_CUDA_LIB_DIR}")
  endif()
endfunction()

# fbq_add_test(<name> LABEL <label> SOURCES <file>... [LIBS <library>...] [ARGS <argument>...]
#              [TIMEOUT <seconds>])
#
# A CMocka program that is a test of the same name. It links fbq::impl, unless one of its sources
# is an implementation unit of its own. A test that needs a GPU exits with 77 where there is none.
function(fbq_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT" "SOURCES;LIBS;ARGS")
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "fbq_add_test(${name}): SOURCES is missing")
  endif()
  add_executable(${name} ${arg_SOURCES})
  set(own_implementation "")
  foreach(source IN LISTS arg_SOURCES)
    get_filename_component(source ${source} ABSOLUTE)
    if(EXISTS ${source})
      file(STRINGS ${source} found REGEX "^#[ \t]*define[ \t]+FBQ_IMPLEMENTATION")
      list(APPEND own_implementation ${found})
    endif()
  endforeach()
  if(own_implementation)
    target_link_libraries(${name} PRIVATE ${arg_LIBS} fbq::fbq)
  else()
    target_link_libraries(${name} PRIVATE ${arg_LIBS} fbq::impl)
  endif()
  target_include_directories(${name} SYSTEM PRIVATE ${FBQ_CUDA_INCLUDE} ${CMOCKA_INCLUDE_DIRS})
  target_link_libraries(${name} PRIVATE ${CMOCKA_LINK_LIBRARIES} m)
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS})
  fbq_set_test(${name} LABEL "${arg_LABEL}" TIMEOUT "${arg_TIMEOUT}")
endfunction()
