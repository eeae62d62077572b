# Run as a script (cmake -P): its policies are not the project's unless it says so.
cmake_minimum_required(VERSION 3.23)
execute_process(
  COMMAND git -c safe.directory=* rev-parse --short=12 HEAD
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE failed ERROR_QUIET)
set(version ${VERSION})
if(NOT failed AND commit)
  string(APPEND version "+${commit}")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#pragma once\n#define BELLHOP_VERSION \"@version@\"\n" @ONLY)
