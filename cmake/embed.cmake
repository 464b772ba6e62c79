# include/fbq/host/device_sources.h: the device code as byte arrays. It is committed, so that a plain
# clone with -I include is complete; the test unit_embed checks that it is fresh.
#
#   cmake --build build/dev --target embed     writes it anew
#
# SPDX-License-Identifier: Apache-2.0
add_executable(fbq_embed ${CMAKE_CURRENT_SOURCE_DIR}/scripts/embed.c)

file(GLOB device_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/include/fbq/device/*.cuh)
list(SORT device_sources)
set(FBQ_EMBED_COMMAND fbq_embed ${CMAKE_CURRENT_SOURCE_DIR}/include/fbq/host/device_sources.h
                      ${device_sources})
add_custom_target(embed COMMAND ${FBQ_EMBED_COMMAND} COMMENT "Embedding the device sources")
