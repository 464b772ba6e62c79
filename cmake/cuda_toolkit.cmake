# The one judge of which CUDA toolkit fbq builds with.
#
#   fbq_cuda_toolkit(<out> <root> <why>)   the toolkit's root folder, empty when there is none
#
# Candidates, best first: CUDACXX, CUDA_HOME, CUDA_PATH, nvcc on the PATH, /usr/local/cuda, and
# <root>/build/cuda-toolkit, where scripts/setup.sh puts the pinned packages. One that is incomplete
# or too old for the newest GPU that fbq compiles for (sm_120) is passed over; <why> says so.
# FBQ_IGNORE_SYSTEM_CUDA (variable or environment) leaves only the last.
#
# As a script (cmake -DROOT=<folder> -P cmake/cuda_toolkit.cmake) it prints the root, or fails with
# the reasons, so that scripts/setup.sh asks the same judge.
#
# SPDX-License-Identifier: Apache-2.0

set(FBQ_CUDA_MINIMUM 12.8)

function(fbq_cuda_toolkit out root why)
  set(${out} "" PARENT_SCOPE)
  set(reasons "")
  set(candidates "")
  if(NOT FBQ_IGNORE_SYSTEM_CUDA AND NOT "$ENV{FBQ_IGNORE_SYSTEM_CUDA}")
    if(NOT "$ENV{CUDACXX}" STREQUAL "")
      get_filename_component(nvcc "$ENV{CUDACXX}" REALPATH)
      get_filename_component(folder "${nvcc}/../.." ABSOLUTE)
      list(APPEND candidates "${folder}")
    endif()
    foreach(name CUDA_HOME CUDA_PATH)
      if(NOT "$ENV{${name}}" STREQUAL "")
        file(TO_CMAKE_PATH "$ENV{${name}}" folder)
        list(APPEND candidates "${folder}")
      endif()
    endforeach()
    find_program(FBQ_NVCC_ON_PATH nvcc NO_CACHE)
    if(FBQ_NVCC_ON_PATH)
      get_filename_component(nvcc "${FBQ_NVCC_ON_PATH}" REALPATH)
      get_filename_component(folder "${nvcc}/../.." ABSOLUTE)
      list(APPEND candidates "${folder}")
    endif()
    list(APPEND candidates /usr/local/cuda)
  endif()
  list(APPEND candidates "${root}/build/cuda-toolkit")
  list(REMOVE_DUPLICATES candidates)

  foreach(folder IN LISTS candidates)
    unset(nvcc) # find_program keeps a variable that is set
    find_program(nvcc nvcc PATHS "${folder}/bin" NO_DEFAULT_PATH NO_CACHE)
    if(NOT nvcc)
      continue()
    endif()
    set(missing "")
    foreach(header cuda.h cuda_runtime.h nvrtc.h cublas_v2.h)
      file(GLOB found "${folder}/include/${header}" "${folder}/targets/*/include/${header}")
      if(NOT found)
        list(APPEND missing ${header})
      endif()
    endforeach()
    foreach(library cudart nvrtc cublas)
      file(GLOB found "${folder}/lib/*/lib${library}.so" "${folder}/lib/lib${library}.so"
           "${folder}/lib64/lib${library}.so" "${folder}/targets/*/lib/lib${library}.so"
           "${folder}/lib/x64/${library}.lib")
      if(NOT found)
        list(APPEND missing ${library})
      endif()
    endforeach()
    execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE text ERROR_VARIABLE text
                    RESULT_VARIABLE result)
    set(version 0)
    if(result EQUAL 0 AND text MATCHES "release ([0-9]+\\.[0-9]+)")
      set(version ${CMAKE_MATCH_1})
    endif()
    if(missing)
      string(REPLACE ";" ", " missing "${missing}")
      list(APPEND reasons "${folder} lacks ${missing}")
    elseif(version VERSION_LESS FBQ_CUDA_MINIMUM)
      list(APPEND reasons "${folder} is CUDA ${version}, ${FBQ_CUDA_MINIMUM} or newer is needed")
    else()
      set(${out} "${folder}" PARENT_SCOPE)
      set(${why} "" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  if(NOT reasons)
    string(REPLACE ";" ", " candidates "${candidates}")
    set(reasons "no nvcc in ${candidates}")
  endif()
  string(REPLACE ";" "; " reasons "${reasons}")
  set(${why} "${reasons}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  fbq_cuda_toolkit(toolkit "${ROOT}" why)
  if(NOT toolkit)
    message(FATAL_ERROR "no usable CUDA toolkit: ${why}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${toolkit}")
endif()
