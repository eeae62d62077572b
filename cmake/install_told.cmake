# Installs what the program tells of itself: manual pages from --help, and completions.
# BELLHOP: the program; BELLHOP_SOURCE: the source tree.
set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")

function(bellhop_told file)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  file(WRITE "${file}" "${text}")
  message(STATUS "Installing: ${file}")
endfunction()

bellhop_told(${root}/share/bash-completion/completions/bellhop ${BELLHOP} completion bash)
bellhop_told(${root}/share/fish/vendor_completions.d/bellhop.fish ${BELLHOP} completion fish)
# Debian keeps site-functions for its administrator.
set(zsh site-functions)
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(zsh vendor-completions)
endif()
bellhop_told(${root}/share/zsh/${zsh}/_bellhop ${BELLHOP} completion zsh)

# The date of the commit, so that the same source makes the same files.
execute_process(COMMAND git -c safe.directory=* log -1 --format=%cs WORKING_DIRECTORY ${BELLHOP_SOURCE}
                OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${BELLHOP_SOURCE}/tools/make_man ${BELLHOP} ${root}/share/man/man1 ${date}
                COMMAND_ERROR_IS_FATAL ANY)
file(GLOB pages ${root}/share/man/man1/bellhop*.1)
execute_process(COMMAND gzip -9nf ${pages} COMMAND_ERROR_IS_FATAL ANY)
message(STATUS "Installing: ${root}/share/man/man1/bellhop*.1.gz")
