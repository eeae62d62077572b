# Precompiled headers save half of the front end's time, and a room's sources compiled together two
# thirds of it. The debug preset and tools/dev tidy compile each source by itself: they find one
# that does not include what it uses.
option(BELLHOP_TOGETHER "Compile the product's sources together, with precompiled headers" OFF)

set(_common <algorithm> <array> <atomic> <chrono> <cstring> <functional> <memory> <mutex> <optional>
    <span> <string> <thread> <vector> <fmt/format.h> <tl/expected.hpp>)
set(BELLHOP_PRECOMPILED_library ${_common})
set(BELLHOP_PRECOMPILED_test ${_common} <gtest/gtest.h> <gmock/gmock.h>)

# bellhop_precompile(target library|test): all targets of a kind have the same flags, so the first
# one's precompiled headers serve the others, which are built after it.
function(bellhop_precompile target kind)
  if(kind STREQUAL "library" AND NOT BELLHOP_TOGETHER)
    return()
  endif()
  get_property(owner GLOBAL PROPERTY BELLHOP_PRECOMPILED_OWNER_${kind})
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  else()
    target_precompile_headers(${target} PRIVATE ${BELLHOP_PRECOMPILED_${kind}})
    set_property(GLOBAL PROPERTY BELLHOP_PRECOMPILED_OWNER_${kind} ${target})
  endif()
endfunction()
