# Precompiled headers save half of the front end's time. Tests have them always, the product in the
# sanitizers' presets alone, where a room's sources are compiled together, too: its release build is
# the one that finds a source which does not include what it uses.
option(BELLHOP_PRECOMPILED "Compile the product's sources together, with precompiled headers" OFF)

set(_common <algorithm> <array> <atomic> <chrono> <cstring> <functional> <memory> <mutex> <optional>
    <span> <string> <thread> <vector> <fmt/format.h> <tl/expected.hpp>)
set(BELLHOP_PRECOMPILED_library ${_common})
set(BELLHOP_PRECOMPILED_test ${_common} <gtest/gtest.h> <gmock/gmock.h>)

# bellhop_precompile(target library|test): all targets of a kind have the same flags, so the first
# one's precompiled headers serve the others, which are built after it.
function(bellhop_precompile target kind)
  if(kind STREQUAL "library" AND NOT BELLHOP_PRECOMPILED)
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
