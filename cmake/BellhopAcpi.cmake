# The AML of src/machine/acpi/*.asl, as headers <name>.hex that define <name>_aml_code[].
find_program(BELLHOP_IASL iasl)
if(BELLHOP_IASL)
  set(iasl ${BELLHOP_IASL})
else()
  set(iasl sh -c "echo 'iasl is missing: install acpica-tools' >&2 && false")
endif()

function(bellhop_add_acpi target)
  set(folder ${CMAKE_BINARY_DIR}/generated/acpi)
  file(MAKE_DIRECTORY ${folder})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/machine/acpi/*.asl)
  foreach(source IN LISTS sources)
    cmake_path(GET source STEM name)
    add_custom_command(
      OUTPUT ${folder}/${name}.hex
      COMMAND ${iasl} -we -tc -p ${folder}/${name} ${source} > ${folder}/${name}.log
      DEPENDS ${source}
      COMMENT "Compiling ${name}.asl"
      VERBATIM)
    list(APPEND headers ${folder}/${name}.hex)
  endforeach()
  target_sources(${target} PRIVATE ${headers})
  add_custom_target(bellhop_acpi DEPENDS ${headers})  # for clang-tidy, which needs no more
  add_dependencies(${target} bellhop_acpi)
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
