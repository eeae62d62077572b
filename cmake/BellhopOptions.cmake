# Flags for all host code hang on bellhop_options, so that guest/ stays free of them.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_SANITIZED "-O1 -g1 -fno-omit-frame-pointer")
set(CMAKE_EXE_LINKER_FLAGS_SANITIZED "")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()

add_library(bellhop_options INTERFACE)
target_include_directories(bellhop_options INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
target_compile_definitions(bellhop_options INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(bellhop_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Wold-style-cast -ffunction-sections -fdata-sections)
target_link_options(bellhop_options INTERFACE -Wl,--gc-sections)

# A warning is an error where we build (the presets), with the product's compiler g++ and flags:
# what else warns, clang or g++ 12 about moves of its own strings where it sanitizes or inlines all,
# differs from release to release.
if(BELLHOP_WERROR AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT BELLHOP_SANITIZE)
  target_compile_options(bellhop_options INTERFACE -Werror)
endif()

if(BELLHOP_SANITIZE)
  target_compile_options(bellhop_options INTERFACE -fsanitize=${BELLHOP_SANITIZE})
  target_link_options(bellhop_options INTERFACE -fsanitize=${BELLHOP_SANITIZE})
  # What a test must do otherwise under one of them; clang 16 has no macro that says so.
  if(BELLHOP_SANITIZE MATCHES "address")
    target_compile_definitions(bellhop_options INTERFACE BELLHOP_UNDER_ASAN)
  elseif(BELLHOP_SANITIZE MATCHES "thread")
    target_compile_definitions(bellhop_options INTERFACE BELLHOP_UNDER_TSAN)
  endif()
  if(BELLHOP_SANITIZE MATCHES "undefined")
    # Without vptr: it looks at memory through a pipe, and takes a process without descriptors for
    # a fault.
    target_compile_options(bellhop_options INTERFACE -fno-sanitize-recover=undefined
                                                     -fno-sanitize=vptr)
  endif()
  if(BELLHOP_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ warns that the thread sanitizer does not follow atomic_thread_fence: ours order memory
    # that a guest shares, which the sanitizer cannot see in any case.
    target_compile_options(bellhop_options INTERFACE -Wno-tsan)
  endif()
endif()
if(BELLHOP_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "BELLHOP_FUZZ needs clang: use the preset asan")
  endif()
  target_compile_options(bellhop_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(BELLHOP_LTO)
  include(CheckIPOSupported)
  check_ipo_supported()
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()

# Libraries of others, all from packages.txt. fmt is compiled here, once, into a static library: as
# headers it would be optimised again in every source, which is most of a build's time; Debian's
# shared one would bring a second libstdc++ into a program that links its own statically. For the
# same reason spdlog (of headers, included by base/log alone) is not taken through its target, which
# links Debian's fmt.
find_package(Threads REQUIRED)
set(missing "")
foreach(library fmt spdlog nlohmann_json tl-expected CLI11)
  find_package(${library} QUIET)
  if(NOT ${library}_FOUND)
    list(APPEND missing ${library})
  endif()
endforeach()
find_library(BELLHOP_LIBURING NAMES liburing.a uring)
find_library(BELLHOP_LIBAIO NAMES libaio.a aio)
find_library(BELLHOP_LIBSECCOMP NAMES libseccomp.a seccomp)
find_path(BELLHOP_TOMLPLUSPLUS toml++/toml.h)
foreach(library LIBURING LIBAIO LIBSECCOMP TOMLPLUSPLUS)
  if(NOT BELLHOP_${library})
    string(TOLOWER ${library} name)
    list(APPEND missing ${name})
  endif()
endforeach()
find_path(BELLHOP_SDT sys/sdt.h)
if(NOT BELLHOP_SDT)
  message(STATUS "no sys/sdt.h (systemtap-sdt-dev): built without USDT probes")
endif()
if(missing)
  list(JOIN missing ", " missing)
  message(FATAL_ERROR "missing: ${missing}; run scripts/install-packages.sh build")
endif()

add_library(bellhop_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt.cc)
target_link_libraries(bellhop_fmt PRIVATE bellhop_options)

add_library(bellhop_external INTERFACE)
target_compile_definitions(bellhop_external INTERFACE SPDLOG_FMT_EXTERNAL)
target_link_libraries(bellhop_external INTERFACE
  bellhop_fmt nlohmann_json::nlohmann_json tl::expected
  ${BELLHOP_LIBURING} ${BELLHOP_LIBAIO} ${BELLHOP_LIBSECCOMP} Threads::Threads)
