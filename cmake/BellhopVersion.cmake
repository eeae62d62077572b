# bellhop_version.h is made at build time and changes only when the commit does.
set(BELLHOP_GENERATED_DIR ${CMAKE_BINARY_DIR}/generated)
add_custom_target(bellhop_version_header
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
          -DOUTPUT=${BELLHOP_GENERATED_DIR}/bellhop_version.h
          -P ${CMAKE_SOURCE_DIR}/cmake/write_version.cmake
  BYPRODUCTS ${BELLHOP_GENERATED_DIR}/bellhop_version.h
  COMMENT "Looking at the commit"
  VERBATIM)

add_library(bellhop_version INTERFACE)
target_include_directories(bellhop_version INTERFACE ${BELLHOP_GENERATED_DIR})
add_dependencies(bellhop_version bellhop_version_header)
