# Run at each build: writes OUTPUT, a header that names the commit of SOURCE, where that has changed.
find_package(Git QUIET)
set(commit "unknown")
if(GIT_FOUND AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse HEAD WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed
                  ERROR_QUIET)
  if(NOT failed)
    set(commit ${found})
    execute_process(COMMAND ${GIT_EXECUTABLE} diff --quiet HEAD WORKING_DIRECTORY ${SOURCE}
                    RESULT_VARIABLE changed ERROR_QUIET)
    if(changed)
      string(APPEND commit " and changes")
    endif()
  endif()
endif()
set(text "#pragma once\n#define SWITCHYARD_COMMIT \"${commit}\"\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT "${before}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
