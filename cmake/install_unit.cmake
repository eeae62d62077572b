# Installs the unit for systemd, which starts the program where that is installed. BELLHOP_SOURCE: the
# source tree.
file(READ ${BELLHOP_SOURCE}/package/bellhop@.service unit)
string(REPLACE "ExecStart=/usr/bin/" "ExecStart=${CMAKE_INSTALL_PREFIX}/bin/" unit "${unit}")
set(file "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/lib/systemd/system/bellhop@.service")
file(WRITE "${file}" "${unit}")
message(STATUS "Installing: ${file}")
