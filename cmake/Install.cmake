# cmake --install BUILD --prefix DIR: a folder that may be moved. What builds or tests stays here, and
# presets are in the program.
include(GNUInstallDirs)
set(documentation ${CMAKE_BINARY_DIR}/documentation)
install(TARGETS switchyard)
install(PROGRAMS launch/mpirun DESTINATION ${CMAKE_INSTALL_BINDIR} RENAME switchyard-mpirun)
install(FILES ${documentation}/man/switchyard.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${documentation}/bash/switchyard
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${documentation}/zsh/_switchyard
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES README.md CHANGELOG.md CONTRIBUTING.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
