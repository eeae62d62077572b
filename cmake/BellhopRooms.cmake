# Reads tools/layers.txt and makes bellhop_<room> for every room under src/. A room that has no
# source yet becomes an interface library, so the tree configures at any stage; the globs are
# looked at again by every build.
set(BELLHOP_LAYERS_FILE ${CMAKE_SOURCE_DIR}/tools/layers.txt)
set(BELLHOP_SRC_ROOMS base memory event bus virtio block net vhost vhost_user transport devices
                      hypervisor config machine control probe bench serve)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${BELLHOP_LAYERS_FILE})

# Sets BELLHOP_MAY_<room> and BELLHOP_TEST_LINKS_<room> in the caller's scope.
macro(bellhop_read_layers)
  file(STRINGS ${BELLHOP_LAYERS_FILE} _lines REGEX "^[!a-z]")
  foreach(_line IN LISTS _lines)
    if(_line MATCHES "^!test-links: *([a-z_]+) +(.*)$")
      separate_arguments(BELLHOP_TEST_LINKS_${CMAKE_MATCH_1} UNIX_COMMAND "${CMAKE_MATCH_2}")
    elseif(_line MATCHES "^([a-z_]+): *(.*)$")
      separate_arguments(BELLHOP_MAY_${CMAKE_MATCH_1} UNIX_COMMAND "${CMAKE_MATCH_2}")
    endif()
  endforeach()
endmacro()

function(bellhop_glob_code folder sources_out tests_out kvm_tests_out)
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${folder}/*.cc)
  set(kvm_tests ${all})
  list(FILTER kvm_tests INCLUDE REGEX "_kvm_test\\.cc$")
  list(FILTER all EXCLUDE REGEX "_kvm_test\\.cc$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER all EXCLUDE REGEX "_test\\.cc$")
  set(${sources_out} "${all}" PARENT_SCOPE)
  set(${tests_out} "${tests}" PARENT_SCOPE)
  set(${kvm_tests_out} "${kvm_tests}" PARENT_SCOPE)
endfunction()

# bellhop_<name> from `sources`, with everything public.
function(bellhop_add_library name sources)
  if(sources)
    add_library(${name} STATIC ${sources})
    bellhop_precompile(${name} library)
    set(scope PUBLIC)
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(${name} ${scope} bellhop_options bellhop_external ${ARGN})
endfunction()

function(bellhop_add_rooms)
  bellhop_read_layers()
  foreach(room IN LISTS BELLHOP_SRC_ROOMS)
    if(NOT DEFINED BELLHOP_MAY_${room})
      message(FATAL_ERROR "tools/layers.txt has no line for the room ${room}")
    endif()
    set(needs "")
    foreach(other IN LISTS BELLHOP_MAY_${room})
      # A part of a room links all of it; guest/ has headers alone.
      string(REGEX REPLACE "/.*" "" other ${other})
      if(other IN_LIST BELLHOP_SRC_ROOMS)
        list(APPEND needs bellhop_${other})
      endif()
    endforeach()
    bellhop_glob_code(${CMAKE_SOURCE_DIR}/src/${room} sources tests kvm_tests)
    bellhop_add_library(bellhop_${room} "${sources}" ${needs})
    # Eight sources at a time take a third of the time of one by one, and names that two of them have
    # for themselves meet. In bench such names are many: blk and net have the same parts.
    if(BELLHOP_PRECOMPILED AND sources AND NOT room STREQUAL "bench")
      set_target_properties(bellhop_${room} PROPERTIES UNITY_BUILD ON)
    endif()
    set_property(GLOBAL PROPERTY BELLHOP_TESTS_${room} "${tests}")
    set_property(GLOBAL PROPERTY BELLHOP_KVM_TESTS_${room} "${kvm_tests}")
  endforeach()
endfunction()

# Everything under apps/bellhop but main.cc is a library, so that tests can reach it.
function(bellhop_add_application)
  set(folder ${CMAKE_SOURCE_DIR}/apps/bellhop)
  bellhop_glob_code(${folder} sources tests kvm_tests)
  list(REMOVE_ITEM sources ${folder}/main.cc)
  bellhop_add_library(bellhop_app "${sources}" bellhop_control bellhop_bench bellhop_serve
                      bellhop_version CLI11::CLI11)
  set_property(GLOBAL PROPERTY BELLHOP_TESTS_app "${tests}")
  set_property(GLOBAL PROPERTY BELLHOP_KVM_TESTS_app "${kvm_tests}")

  file(GLOB main CONFIGURE_DEPENDS ${folder}/main.cc)
  if(NOT main)
    return()
  endif()
  add_executable(bellhop ${main})
  target_link_libraries(bellhop PRIVATE bellhop_app)
  if(NOT BELLHOP_SANITIZE)
    # Few shared libraries and few relocated pages: start-up time and resident memory count.
    target_link_options(bellhop PRIVATE -static-libstdc++ -static-libgcc -Wl,-O1 -Wl,--as-needed
                        -Wl,-z,lazy)
  endif()
  if(TARGET bench_guest)
    add_dependencies(bellhop bench_guest)
  endif()
endfunction()
