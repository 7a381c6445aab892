# switchyard_room(NAME SOURCES file... [PUBLIC lib...] [PRIVATE lib...])
# A room is a static library whose headers are included as "room/file.h".
function(switchyard_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# switchyard_test(NAME SOURCES file... [LIBRARIES lib...] [LABELS fast|slow] [RANKS n] [TIMEOUT s]
#                 [BUSY] [ALONE])
# A GoogleTest program; with RANKS it is started under mpirun with that many ranks. PROCESSORS
# counts half cores (tests/run): most tests wait for more than half of their time. BUSY: it does not,
# or its ranks wait for each other at each step; it has a core, as fast tests of several ranks.
# ALONE: it gives others milliseconds, so it has two. Slow ones come first, for what comes last runs
# beside nothing.
function(switchyard_test name)
  cmake_parse_arguments(ARG "ALONE;BUSY" "RANKS;TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} test_support GTest::gmock)
  # A third less to compile than with -O3; what is tested is in the libraries.
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O1>)
  if(NOT ARG_LABELS)
    set(ARG_LABELS fast)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(ARG_RANKS)
    add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/support/mpirun -np ${ARG_RANKS}
                                  $<TARGET_FILE:${name}>)
  else()
    add_test(NAME ${name} COMMAND ${name})
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
                       ENVIRONMENT "OMP_NUM_THREADS=2")
  if(ARG_ALONE)
    set_tests_properties(${name} PROPERTIES PROCESSORS 4)
  elseif(ARG_BUSY OR (ARG_RANKS AND NOT ARG_LABELS STREQUAL slow))
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endif()
  if(ARG_LABELS STREQUAL slow)
    set_tests_properties(${name} PROPERTIES COST 100)
  endif()
endfunction()
