# Find the CUDA toolkit and make FBQ_CUDA_INCLUDE and FBQ_CUDA_LIB_DIR known.
# Where anything is to be compiled by nvcc, the CUDA language is enabled as well.
#
# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/cuda_toolkit.cmake)

if(NOT CMAKE_CUDA_COMPILER)
  fbq_cuda_toolkit(toolkit "${CMAKE_CURRENT_SOURCE_DIR}" why)
  if(NOT toolkit)
    message(FATAL_ERROR "fbq: no usable CUDA toolkit: ${why}. Run scripts/setup.sh, or install CUDA "
                        "${FBQ_CUDA_MINIMUM} or newer and set CUDA_HOME. The headers alone need "
                        "none: -DFBQ_DEVELOP=OFF.")
  endif()
  if(NOT CUDAToolkit_ROOT)
    set(CUDAToolkit_ROOT "${toolkit}" CACHE PATH "The CUDA toolkit")
  endif()
  set(CMAKE_CUDA_COMPILER "${toolkit}/bin/nvcc" CACHE FILEPATH "nvcc")
endif()

if(FBQ_BUILD_TESTS OR FBQ_BUILD_EXAMPLES OR FBQ_BUILD_BENCH)
  # nvcc code is built for the GPU at hand, or, where there is none, to show that it compiles.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES 80)
    execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                    OUTPUT_VARIABLE capability RESULT_VARIABLE result ERROR_QUIET)
    if(result EQUAL 0 AND capability MATCHES "([0-9]+)\\.([0-9]+)")
      set(CMAKE_CUDA_ARCHITECTURES ${CMAKE_MATCH_1}${CMAKE_MATCH_2})
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${CMAKE_CUDA_ARCHITECTURES} CACHE STRING "Architectures of nvcc code")
  endif()
  enable_language(CXX)
  enable_language(CUDA)
endif()

find_package(CUDAToolkit ${FBQ_CUDA_MINIMUM} REQUIRED)
set(FBQ_CUDA_INCLUDE ${CUDAToolkit_INCLUDE_DIRS})
set(FBQ_CUDA_LIB_DIR ${CUDAToolkit_LIBRARY_DIR})
get_filename_component(FBQ_CUDA_HOME "${CUDAToolkit_BIN_DIR}/.." ABSOLUTE)
