# fbq::impl: the implementation unit as a static library, for those who would rather link than
# define FBQ_IMPLEMENTATION.
#
# SPDX-License-Identifier: Apache-2.0
add_library(fbq_impl STATIC ${CMAKE_CURRENT_SOURCE_DIR}/cmake/impl.c)
add_library(fbq::impl ALIAS fbq_impl)
set_target_properties(fbq_impl PROPERTIES EXPORT_NAME impl OUTPUT_NAME fbq C_STANDARD 11
                                          C_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
target_link_libraries(fbq_impl PUBLIC fbq)
target_include_directories(fbq_impl SYSTEM PRIVATE ${FBQ_CUDA_INCLUDE})
# Makes FBQ_IMPLEMENTATION in a program that links this an error at compile time.
target_compile_definitions(fbq_impl INTERFACE FBQ_LINKED)
