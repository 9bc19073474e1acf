# Each room's sm90.cu, once per instance, into the one library: by nvcc for sm_90a with the CUDA runtime linked
# statically and no link to libcuda, or by g++ against the emulator. Sets OPSWAP_CUDA_{LIBRARIES,DEFINITIONS,INCLUDES}
# and adds to OPSWAP_OBJECTS.
execute_process(COMMAND ${CMAKE_COMMAND} -E env "PYTHONPATH=${OPSWAP_ROOT}/native" PYTHONDONTWRITEBYTECODE=1
    "${OPSWAP_PYTHON}" -m gen "${OPSWAP_ROOT}" instances
  OUTPUT_VARIABLE instances OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" OPSWAP_INSTANCES "${instances}")
file(GLOB OPSWAP_KERNELS CONFIGURE_DEPENDS "${OPSWAP_ROOT}/kernels/*/sm90.cu")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${OPSWAP_ROOMS})

# Splits `room|instance|scalar|namespace` and says what the compiler is told of an instance.
macro(opswap_read_instance line)
  string(REPLACE "|" ";" parts "${line}")
  list(GET parts 0 room)
  list(GET parts 1 pass)
  list(GET parts 2 scalar)
  list(GET parts 3 namespace)
  set(source "${OPSWAP_ROOT}/kernels/${room}/sm90.cu")
  set(definitions OPSWAP_PASS=${namespace} "OPSWAP_OP=\"${room}\"")
  if(scalar)
    list(APPEND definitions OPSWAP_SCALAR=${scalar})
  endif()
endmacro()

if(OPSWAP_EMULATE)
  include("${OPSWAP_ROOT}/test/emulator/emulator.cmake")
  opswap_add_emulator(opswap_emulator OBJECT "${OPSWAP_SANITIZE}")
  list(APPEND OPSWAP_OBJECTS $<TARGET_OBJECTS:opswap_emulator>)
  set(OPSWAP_CUDA_DEFINITIONS OPSWAP_EMULATE OPSWAP_WITH_SM90)
  set(OPSWAP_CUDA_INCLUDES "${OPSWAP_EMULATOR_DIR}/include")
  foreach(line ${OPSWAP_INSTANCES})
    opswap_read_instance("${line}")
    set(target room_${room}_${pass})
    add_library(${target} OBJECT "${source}")
    set_source_files_properties("${source}" PROPERTIES LANGUAGE CXX)
    add_dependencies(${target} opswap_generate)
    target_link_libraries(${target} PRIVATE opswap_emulator)  # include folders and definitions
    target_include_directories(${target} PRIVATE ${OPSWAP_INCLUDES})
    target_compile_definitions(${target} PRIVATE ${definitions})
    target_compile_options(${target} PRIVATE -x c++ -O2 -g ${OPSWAP_WARNINGS} -Wno-unknown-pragmas)
    list(APPEND OPSWAP_OBJECTS $<TARGET_OBJECTS:${target}>)
  endforeach()
  return()
endif()

set(wish "${OPSWAP_CUDA}")
if(wish STREQUAL "")
  set(wish auto)
elseif(NOT wish MATCHES "^(auto|on|off|ON|OFF)$")
  message(FATAL_ERROR "OPSWAP_CUDA is \"${wish}\", needs auto, on or off")
endif()
if(wish MATCHES "^(off|OFF)$" OR OPSWAP_SANITIZE)
  return()
endif()

# nvcc 12.8 or later: the one named, CUDACXX, PATH, the usual folder, the wheel of this Python.
set(candidates "${OPSWAP_NVCC}" "$ENV{CUDACXX}")
find_program(OPSWAP_INSTALLED_NVCC nvcc PATHS /usr/local/cuda/bin)
list(APPEND candidates "${OPSWAP_INSTALLED_NVCC}")
execute_process(COMMAND "${OPSWAP_PYTHON}" -c "import importlib.util as u, pathlib as p
try: print(p.Path(u.find_spec('nvidia.cu13').submodule_search_locations[0]) / 'bin/nvcc')
except (ModuleNotFoundError, AttributeError): pass" OUTPUT_VARIABLE wheel OUTPUT_STRIP_TRAILING_WHITESPACE)
list(APPEND candidates "${wheel}")
set(nvcc)
foreach(candidate ${candidates})
  if(EXISTS "${candidate}" AND NOT nvcc)
    execute_process(COMMAND "${candidate}" --version OUTPUT_VARIABLE text)
    if(text MATCHES "V([0-9]+\\.[0-9]+\\.[0-9]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
      set(nvcc "${candidate}")
      set(nvcc_version "${CMAKE_MATCH_1}")
    endif()
  endif()
endforeach()
if(NOT nvcc)
  if(wish MATCHES "^(on|ON)$")
    message(FATAL_ERROR "OPSWAP_CUDA=on, but no nvcc 12.8 or later: set OPSWAP_NVCC, or install the packages of env/cuda.in")
  endif()
  message(STATUS "no nvcc 12.8 or later: building without CUDA kernels")
  return()
endif()
message(STATUS "CUDA kernels: ${nvcc} ${nvcc_version}")

file(REAL_PATH "${nvcc}" real_nvcc)
get_filename_component(cuda "${real_nvcc}" DIRECTORY)
get_filename_component(cuda "${cuda}" DIRECTORY)
find_library(OPSWAP_CUDART cudart_static PATHS "${cuda}" PATH_SUFFIXES lib lib64 targets/x86_64-linux/lib
  targets/sbsa-linux/lib NO_DEFAULT_PATH REQUIRED)
find_path(OPSWAP_CUDART_INCLUDE cuda_runtime_api.h PATHS "${cuda}" PATH_SUFFIXES include targets/x86_64-linux/include
  targets/sbsa-linux/include NO_DEFAULT_PATH REQUIRED)
set(OPSWAP_CUDA_LIBRARIES "${OPSWAP_CUDART}" rt ${CMAKE_DL_LIBS})
set(OPSWAP_CUDA_INCLUDES "${OPSWAP_CUDART_INCLUDE}")
set(OPSWAP_CUDA_DEFINITIONS OPSWAP_WITH_CUDA OPSWAP_WITH_SM90)

# ptxas -v of every instance stays beside its object, with what the compilation took; test/static reads both.
set(flags -std=c++20 -O3 -gencode arch=compute_90a,code=sm_90a -Xptxas -v --expt-relaxed-constexpr -lineinfo
  -ccbin "${CMAKE_CXX_COMPILER}" -Xcompiler -fPIC,-fvisibility=hidden,-Wall)
foreach(include ${OPSWAP_INCLUDES})
  list(APPEND flags "-I${include}")
endforeach()
set(folder "${CMAKE_CURRENT_BINARY_DIR}/sm90")
file(MAKE_DIRECTORY "${folder}")
file(WRITE "${folder}/nvcc-version" "${nvcc_version}\n")
foreach(line ${OPSWAP_INSTANCES})
  opswap_read_instance("${line}")
  set(object "${folder}/${room}.${pass}.o")
  list(TRANSFORM definitions PREPEND -D)
  add_custom_command(OUTPUT "${object}"
    COMMAND "${OPSWAP_PYTHON}" "${CMAKE_CURRENT_LIST_DIR}/logged.py" "${folder}/${room}.${pass}.ptxas" "${nvcc}" ${flags} ${definitions} -MD -MF "${object}.d" -MT "${object}" -c "${source}" -o "${object}"
    DEPENDS "${source}" opswap_generate "${CMAKE_CURRENT_LIST_DIR}/cuda.cmake" "${CMAKE_CURRENT_LIST_DIR}/logged.py"
    DEPFILE "${object}.d" COMMENT "Compiling ${room} for sm_90a (${pass})" VERBATIM)
  set_source_files_properties("${object}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  list(APPEND OPSWAP_OBJECTS "${object}")
endforeach()
