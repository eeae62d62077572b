# What `cmake --install` installs, and the Debian package that scripts/make-package.sh makes of it.
#   program: bellhop, the bench guest, manual pages, completions, pages, examples. For a user alone:
#            cmake --install build/release --component program --prefix ~/.local
#   service: the unit for systemd and the user that it runs as
include(GNUInstallDirs)
set(BELLHOP_PACKAGING ${CMAKE_SOURCE_DIR}/package)

install(TARGETS bellhop RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
# A kernel of its own: nobody executes or strips it.
install(FILES $<TARGET_FILE:bench_guest> DESTINATION lib/bellhop COMPONENT program)
install(DIRECTORY ${BELLHOP_PACKAGING}/examples DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/bellhop
        COMPONENT program)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/bellhop
        COMPONENT program)
# Manual pages and completions: what the program says of itself.
install(CODE "set(BELLHOP $<TARGET_FILE:bellhop>)
              set(BELLHOP_SOURCE \"${CMAKE_SOURCE_DIR}\")
              include(${CMAKE_SOURCE_DIR}/cmake/install_told.cmake)" COMPONENT program)

install(FILES ${BELLHOP_PACKAGING}/bellhop.sysusers DESTINATION lib/sysusers.d
        RENAME bellhop.conf COMPONENT service)
install(CODE "set(BELLHOP_SOURCE \"${CMAKE_SOURCE_DIR}\")
              include(${CMAKE_SOURCE_DIR}/cmake/install_unit.cmake)" COMPONENT service)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME bellhop)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR Bellhop)
set(CPACK_PACKAGE_CONTACT "Bellhop's maintainers <maintainers@bellhop.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "virtual machine monitor for KVM, and its own virtio engine")
set(CPACK_PACKAGE_DESCRIPTION
"Runs Linux guests that start from a kernel file, with disks, NICs, sockets,
consoles and shared folders, and serves disks and NICs to guests of other
virtual machine monitors (vhost-user).
.
Each queue of a device is notified by exits, by events or by polling, or by
what turns out best while the guest runs. Bellhop measures what each way
costs on this host, and where the time of a request goes.")
set(CPACK_SET_DESTDIR ON)  # what is installed knows where it will be
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/install_debian.cmake)
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# systemd has it, and where there is none a small package.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "passt, qemu-system-x86")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${BELLHOP_PACKAGING}/postinst ${BELLHOP_PACKAGING}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# For install_debian.cmake.
set(CPACK_BELLHOP_SOURCE ${CMAKE_SOURCE_DIR})
include(CPack)
