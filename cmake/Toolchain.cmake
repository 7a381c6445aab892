# libFuzzer counts what the code reaches, and sanitizers say what it must not do.
if(SWITCHYARD_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "SWITCHYARD_FUZZ needs Clang, not ${CMAKE_CXX_COMPILER_ID}: CXX=clang++ CC=clang")
  endif()
  set(SWITCHYARD_SANITIZE "fuzzer-no-link,address,undefined")
endif()

# Compiler settings that hold for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# A room is compiled without waiting for the libraries that programs link beside it.
set(CMAKE_OPTIMIZE_DEPENDENCIES ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

set(host "$<COMPILE_LANGUAGE:C,CXX>")
add_compile_options("$<${host}:-Wall;-Wextra;-Wpedantic;-Wshadow>"
                    "$<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>")
if(SWITCHYARD_WERROR)
  add_compile_options("$<${host}:-Werror>")
endif()

# The baseline of every build; wider instruction sets are chosen at run time, so that a build
# folder moves between processors of one family.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options("$<${host}:-march=x86-64-v3>")
endif()

if(SWITCHYARD_SANITIZE)
  add_compile_options("$<${host}:-fsanitize=${SWITCHYARD_SANITIZE};-fno-omit-frame-pointer>"
                      "$<${host}:-fno-sanitize-recover=all>")
  add_link_options(-fsanitize=${SWITCHYARD_SANITIZE})
endif()
