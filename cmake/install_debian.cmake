# What the Debian package has beside what `cmake --install` installs; run by CPack.
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
set(doc ${root}/share/doc/bellhop)
file(MAKE_DIRECTORY ${root}/../etc/bellhop)

# Debian's place for units that packages bring.
file(MAKE_DIRECTORY ${root}/../lib)
file(RENAME ${root}/lib/systemd ${root}/../lib/systemd)

# Debian's changelog has the versions, and the project's own, beside it, what changed in each.
file(COPY ${CPACK_BELLHOP_SOURCE}/CHANGELOG.md DESTINATION ${doc})
file(STRINGS ${doc}/CHANGELOG.md versions REGEX "^## [0-9.]+ - ")
set(text "")
foreach(one IN LISTS versions)
  string(REGEX MATCH "^## ([0-9.]+) - ([0-9]+-[0-9]+-[0-9]+)" whole "${one}")
  set(version ${CMAKE_MATCH_1})
  execute_process(COMMAND env LC_ALL=C date -u -d ${CMAKE_MATCH_2} "+%a, %d %b %Y 00:00:00 +0000"
                  OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(APPEND text "bellhop (${version}) unstable; urgency=medium\n\n"
                     "  * Bellhop ${version}: see CHANGELOG.md.\n\n"
                     " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n\n")
endforeach()
file(WRITE ${doc}/changelog "${text}")
execute_process(COMMAND gzip -9nf ${doc}/changelog COMMAND_ERROR_IS_FATAL ANY)

file(COPY ${CPACK_BELLHOP_SOURCE}/package/lintian-overrides DESTINATION ${root}/share/lintian/overrides)
file(RENAME ${root}/share/lintian/overrides/lintian-overrides ${root}/share/lintian/overrides/bellhop)

# What Debian says of the libraries that are compiled in goes with them.
file(READ ${CPACK_BELLHOP_SOURCE}/package/copyright text)
foreach(library libcli11-dev libfmt-dev libspdlog-dev nlohmann-json3-dev libexpected-dev
                libtomlplusplus-dev libboost-dev liburing-dev libaio-dev libseccomp-dev gcc-12-base)
  file(GLOB said /usr/share/doc/${library}/copyright)
  if(NOT said)
    message(FATAL_ERROR "${library}: there is no copyright file of it to pack")
  endif()
  file(READ ${said} one)
  string(APPEND text "\n---- ${library} ----\n\n${one}")
endforeach()
file(WRITE ${doc}/copyright "${text}")
