# CUDA where the toolkit is found. Without it the program has the CPU alone.
set(SWITCHYARD_CUDA AUTO CACHE STRING "CUDA, NCCL and cuDNN: AUTO (where nvcc is found), ON, OFF")
set_property(CACHE SWITCHYARD_CUDA PROPERTY STRINGS AUTO ON OFF)

set(SWITCHYARD_HAS_CUDA OFF)
if(SWITCHYARD_CUDA)
  find_program(SWITCHYARD_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDACXX} /usr/local/cuda/bin)
  if(SWITCHYARD_NVCC)
    set(SWITCHYARD_HAS_CUDA ON)
  elseif(NOT SWITCHYARD_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "SWITCHYARD_CUDA=${SWITCHYARD_CUDA}, but nvcc is neither on the PATH nor "
                        "under CUDA_HOME nor in /usr/local/cuda/bin")
  endif()
endif()
if(NOT SWITCHYARD_HAS_CUDA)
  message(STATUS "CUDA: none (SWITCHYARD_CUDA=${SWITCHYARD_CUDA})")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${SWITCHYARD_NVCC})
endif()
# Hopper; a release has Ampere and Blackwell too: -DCMAKE_CUDA_ARCHITECTURES="80;90a;100".
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90a)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
# CMake 3.25 does not know that nvcc takes C++20.
foreach(kind STANDARD EXTENSION)
  if(NOT CMAKE_CUDA20_${kind}_COMPILE_OPTION)
    set(CMAKE_CUDA20_${kind}_COMPILE_OPTION -std=c++20)
  endif()
endforeach()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)  # tests/house/ptx reads how kernels are compiled

find_package(CUDAToolkit 12 REQUIRED)
find_package(NCCL 2.19 REQUIRED)
find_package(CUDNN 9 REQUIRED)
message(STATUS "CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}, NCCL ${NCCL_VERSION}, "
               "cuDNN ${CUDNN_VERSION}")
include(CudnnFrontend)

# A kernel that spills registers or keeps a stack frame is reported by ptxas, as an error where
# warnings are.
set(ptxas "-Xptxas=-warn-spills,-warn-lmem-usage")
if(SWITCHYARD_WERROR)
  string(APPEND ptxas ",-Werror;-Werror=all-warnings")
endif()
add_compile_options(
  "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-lineinfo;${ptxas}>")
