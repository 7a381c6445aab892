# CUDNN::frontend: the headers of cuDNN's C++ front-end, which core/ops/attention/cudnn.cpp alone includes.
# launch/setup unpacks them into .deps; a build without them has attention by its own kernels only.
set(CUDNN_FRONTEND_VERSION 1.18.0)
set(CUDNN_FRONTEND_ROOT "${PROJECT_SOURCE_DIR}/.deps/cudnn-frontend-${CUDNN_FRONTEND_VERSION}"
    CACHE PATH "Folder whose include/ has cudnn_frontend.h, version ${CUDNN_FRONTEND_VERSION}")

set(header ${CUDNN_FRONTEND_ROOT}/include/cudnn_frontend_version.h)
if(NOT EXISTS ${header})
  message(STATUS "cuDNN front-end: none in ${CUDNN_FRONTEND_ROOT} (launch/setup fetches it), so "
                 "attention runs in own kernels only")
  return()
endif()
file(STRINGS ${header} lines REGEX "#define CUDNN_FRONTEND_[A-Z]+_VERSION [0-9]")
string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
list(JOIN numbers "." found)
# From 1.19 on it links the driver's library, which a machine without a GPU has not.
if(NOT found VERSION_GREATER_EQUAL 1.18 OR NOT found VERSION_LESS 1.19)
  message(FATAL_ERROR "cuDNN front-end ${found} in ${CUDNN_FRONTEND_ROOT}; 1.18 is allowed")
endif()
message(STATUS "cuDNN front-end ${found}")

add_library(CUDNN::frontend INTERFACE IMPORTED GLOBAL)
set_target_properties(CUDNN::frontend PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_FRONTEND_ROOT}/include"
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${CUDNN_FRONTEND_ROOT}/include")
