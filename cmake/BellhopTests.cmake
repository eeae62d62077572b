# One GoogleTest program for each room. Files named *_kvm_test.cc need /dev/kvm: they go to a
# program of their own, which runs alone and bears the label kvm.
# The product is built without them; a test program that cannot be is a test that fails.
find_package(GTest QUIET)
find_package(benchmark QUIET)
include(GoogleTest)

# bellhop_add_unbuilt_test(name package labels...): stands for a program that lacks its library.
function(bellhop_add_unbuilt_test name package)
  add_test(NAME ${name}.unbuilt
           COMMAND sh -c "echo '${package} is missing: run scripts/install-packages.sh test'; exit 1")
  set_tests_properties(${name}.unbuilt PROPERTIES LABELS "${ARGN}")
endfunction()

set(BELLHOP_TEST_TIMEOUT 300)

# All programs that bear the label unit: what the sanitizers' builds need.
# The command line's are left out there: a fifth of such a build, for options that its user gives.
add_custom_target(unit_tests)

# The library of fakes. It names no room: each test program brings the rooms that it needs, so a
# room can be tested while another one does not compile.
function(bellhop_add_testing_library)
  bellhop_glob_code(${CMAKE_SOURCE_DIR}/testing sources tests kvm_tests)
  bellhop_add_library(bellhop_testing "${sources}")
  set_property(GLOBAL PROPERTY BELLHOP_TESTS_testing "${tests}")
  set_property(GLOBAL PROPERTY BELLHOP_KVM_TESTS_testing "${kvm_tests}")
endfunction()

# What each source of a test needs. Most of a build is tests; what is not optimised compiles in half
# the time.
function(bellhop_set_up_test target)
  target_link_libraries(${target} PRIVATE bellhop_testing GTest::gmock)
  target_compile_options(${target} PRIVATE -O0)
  bellhop_precompile(${target} test)
endfunction()

function(bellhop_define_paths target)
  if(TARGET bellhop)
    target_compile_definitions(${target} PRIVATE BELLHOP_EXECUTABLE="$<TARGET_FILE:bellhop>")
    add_dependencies(${target} bellhop)
  endif()
  if(TARGET bench_guest)
    get_target_property(type bench_guest TYPE)
    if(type STREQUAL "EXECUTABLE")
      set(elf $<TARGET_FILE:bench_guest>)
    else()
      set(elf ${CMAKE_BINARY_DIR}/guest/bench-guest.elf)
    endif()
    target_compile_definitions(${target} PRIVATE BELLHOP_BENCH_GUEST="${elf}")
    add_dependencies(${target} bench_guest)
  endif()
endfunction()

# bellhop_add_gtest(NAME name SOURCES files LIBRARIES targets [LABELS labels] [ALONE])
function(bellhop_add_gtest)
  cmake_parse_arguments(arg "ALONE" "NAME" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT GTest_FOUND)
    bellhop_add_unbuilt_test(${arg_NAME} "libgtest-dev and libgmock-dev" ${arg_LABELS})
    return()
  endif()
  add_executable(${arg_NAME} ${arg_SOURCES})
  bellhop_set_up_test(${arg_NAME})
  target_link_libraries(${arg_NAME} PRIVATE ${arg_LIBRARIES} GTest::gtest_main)
  if("unit" IN_LIST arg_LABELS AND NOT (BELLHOP_SANITIZE AND arg_NAME STREQUAL "app_test"))
    add_dependencies(unit_tests ${arg_NAME})
  endif()
  set(properties TIMEOUT ${BELLHOP_TEST_TIMEOUT})
  if(arg_LABELS)
    list(APPEND properties LABELS "${arg_LABELS}")
  endif()
  if(arg_ALONE)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  # Parameters have names of their own; their values would be bytes and pointers.
  set(ways TEST_PREFIX "${arg_NAME}." DISCOVERY_MODE PRE_TEST NO_PRETTY_VALUES DISCOVERY_TIMEOUT 120)
  gtest_discover_tests(${arg_NAME} ${ways} TEST_FILTER "-Measured*" PROPERTIES ${properties})
  # What a suite of this name asserts depends on what is measured.
  gtest_discover_tests(${arg_NAME} ${ways} TEST_FILTER "Measured*" PROPERTIES ${properties} RUN_SERIAL TRUE)
endfunction()

function(bellhop_add_unit_tests room)
  get_property(tests GLOBAL PROPERTY BELLHOP_TESTS_${room})
  get_property(kvm_tests GLOBAL PROPERTY BELLHOP_KVM_TESTS_${room})
  bellhop_add_gtest(NAME ${room}_test SOURCES ${tests} LIBRARIES ${ARGN} LABELS unit)
  if(BELLHOP_TOGETHER AND TARGET ${room}_test)
    # A few at a time: who changes one waits for its neighbours, too.
    set_target_properties(${room}_test PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
  bellhop_add_gtest(NAME ${room}_kvm_test SOURCES ${kvm_tests} LIBRARIES ${ARGN} LABELS kvm ALONE)
endfunction()

function(bellhop_add_all_unit_tests)
  if(GTest_FOUND)
    # The first, with nothing in it: a program of tests waits for no other.
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/no_test.cc CONTENT "")
    add_library(bellhop_no_test OBJECT ${CMAKE_CURRENT_BINARY_DIR}/no_test.cc)
    bellhop_set_up_test(bellhop_no_test)
  endif()
  bellhop_read_layers()
  foreach(room IN LISTS BELLHOP_SRC_ROOMS)
    set(libraries bellhop_${room})
    foreach(other IN LISTS BELLHOP_TEST_LINKS_${room})
      list(APPEND libraries bellhop_${other})
    endforeach()
    bellhop_add_unit_tests(${room} ${libraries})
  endforeach()
  bellhop_add_unit_tests(app bellhop_app)
  bellhop_add_unit_tests(testing bellhop_machine)
endfunction()
