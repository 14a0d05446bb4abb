# Finds a working CUDA compiler as VLTR_CUDA asks, and enables the language.
#
# Sets VLTR_HAVE_CUDA and VLTR_CUDA_BUILD (what build_info() prints). FindCUDAToolkit is not used: the toolkit of Python wheels
# has a layout that it does not know, and a static runtime needs nothing but the compiler.

set(VLTR_HAVE_CUDA OFF)
set(VLTR_CUDA_BUILD "not built")
string(TOUPPER "${VLTR_CUDA}" _vltr_cuda)
if(NOT _vltr_cuda MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "VLTR_CUDA: expected AUTO, ON or OFF, got '${VLTR_CUDA}'")
endif()
if(_vltr_cuda STREQUAL "OFF")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER)
  unset(CMAKE_CUDA_COMPILER CACHE)  # a NOTFOUND of an earlier run must not outlive the toolkit's arrival
  if(NOT DEFINED ENV{CUDACXX})
    find_program(VLTR_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" PATHS /usr/local/cuda/bin)
    if(VLTR_NVCC)
      set(ENV{CUDACXX} "${VLTR_NVCC}")  # not CMAKE_CUDA_COMPILER: check_language must really try it
    endif()
  endif()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(_vltr_cuda STREQUAL "ON")
    message(FATAL_ERROR "VLTR_CUDA=ON, but no working CUDA compiler was found (set CUDACXX or CUDA_HOME)")
  endif()
  return()
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
set(VLTR_HAVE_CUDA ON)
