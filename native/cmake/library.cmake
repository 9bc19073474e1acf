# libopswap.so: the frame plus every room under kernels/. Target `opswap`.
if(OPSWAP_PREBUILT_LIB)
  add_library(opswap SHARED IMPORTED GLOBAL)
  set_target_properties(opswap PROPERTIES IMPORTED_LOCATION "${OPSWAP_PREBUILT_LIB}"
    INTERFACE_INCLUDE_DIRECTORIES "${OPSWAP_ROOT}/native/include")
  return()
endif()

# Generated C++: made anew when any declaration or the generator changes, at configure time and at build time.
set(OPSWAP_GEN_DIR "${CMAKE_CURRENT_BINARY_DIR}/gen")
file(GLOB OPSWAP_ROOMS CONFIGURE_DEPENDS "${OPSWAP_ROOT}/kernels/*/op.json")
file(GLOB OPSWAP_ROOM_SOURCES CONFIGURE_DEPENDS "${OPSWAP_ROOT}/kernels/*/cpu.cpp"
  "${OPSWAP_ROOT}/kernels/*/*.cu" "${OPSWAP_ROOT}/kernels/*/*/*.cu" "${OPSWAP_ROOT}/kernels/*/*.h"
  "${OPSWAP_ROOT}/kernels/*/*/*.h")
file(GLOB OPSWAP_CORE CONFIGURE_DEPENDS "${OPSWAP_ROOT}/native/core/*.cpp")
file(GLOB OPSWAP_GENERATOR CONFIGURE_DEPENDS "${OPSWAP_ROOT}/native/gen/*.py" "${OPSWAP_ROOT}/native/core/*"
  "${OPSWAP_ROOT}/native/include/*.h")
file(GLOB OPSWAP_EVIDENCE CONFIGURE_DEPENDS "${OPSWAP_ROOT}/evidence/*.json" "${OPSWAP_ROOT}/evidence/*/*.json"
  "${OPSWAP_ROOT}/kernels/common/device/*.h" "${OPSWAP_ROOT}/kernels/common/sm90/*.h")
# Named as well, so that what includes one is compiled in the build that changes it.
list(TRANSFORM OPSWAP_ROOMS REPLACE "^.*/([a-z0-9_]+)/op.json$" "${OPSWAP_GEN_DIR}/\\1.gen.h" OUTPUT_VARIABLE OPSWAP_GEN_HEADERS)
add_custom_command(
  OUTPUT "${OPSWAP_GEN_DIR}/registry.gen.cpp"
  BYPRODUCTS ${OPSWAP_GEN_HEADERS}
  COMMAND ${CMAKE_COMMAND} -E env "PYTHONPATH=${OPSWAP_ROOT}/native" PYTHONDONTWRITEBYTECODE=1
    "${OPSWAP_PYTHON}" -m gen "${OPSWAP_ROOT}" build "${OPSWAP_GEN_DIR}"
  COMMAND ${CMAKE_COMMAND} -E touch "${OPSWAP_GEN_DIR}/registry.gen.cpp"
  DEPENDS ${OPSWAP_ROOMS} ${OPSWAP_ROOM_SOURCES} ${OPSWAP_GENERATOR} ${OPSWAP_EVIDENCE} "${OPSWAP_ROOT}/package.json"
  COMMENT "Generating C++ from kernels/*/op.json" VERBATIM)
add_custom_target(opswap_generate DEPENDS "${OPSWAP_GEN_DIR}/registry.gen.cpp")

set(OPSWAP_INCLUDES "${OPSWAP_ROOT}/native/include" "${OPSWAP_ROOT}/native/core" "${OPSWAP_ROOT}/kernels" "${OPSWAP_GEN_DIR}")
set(OPSWAP_WARNINGS -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
# -Wno-psabi: vector types of every width are passed only inside one pass, never across an ABI.
# -Wno-maybe-uninitialized: GCC 12's own AVX-512 header sets it off (GCC bug 105593).
set(OPSWAP_KERNEL_FLAGS -fno-math-errno -fno-trapping-math -ffp-contract=fast -fno-exceptions -fno-rtti -Wno-psabi
  -Wno-maybe-uninitialized)
if(OPSWAP_SANITIZE OR OPSWAP_EMULATE)
  list(APPEND OPSWAP_KERNEL_FLAGS -O1)  # instrumented and fully unrolled, one kernel takes minutes to compile
else()
  list(APPEND OPSWAP_KERNEL_FLAGS -O3)
endif()

# One pass over a room's cpu.cpp: its own namespace and instruction set, so no two passes share a symbol.
set(OPSWAP_OBJECTS)
function(opswap_pass room name level)
  set(target "room_${room}_${name}")
  add_library(${target} OBJECT "${OPSWAP_ROOT}/kernels/${room}/cpu.cpp")
  add_dependencies(${target} opswap_generate)
  target_include_directories(${target} PRIVATE ${OPSWAP_INCLUDES})
  target_compile_definitions(${target} PRIVATE OPSWAP_ISA=isa_${name} OPSWAP_ISA_LEVEL=Isa::${level})
  target_compile_options(${target} PRIVATE ${OPSWAP_WARNINGS} ${OPSWAP_KERNEL_FLAGS} ${ARGN})
  if(name STREQUAL "ref")
    target_compile_definitions(${target} PRIVATE OPSWAP_PASS_REF)
  endif()
  set(OPSWAP_OBJECTS ${OPSWAP_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
endfunction()

set(OPSWAP_FLAGS_portable)
set(OPSWAP_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi2)
# avx512bf16 only makes its intrinsics known: code that uses them asks the CPU first, and the compiler never does by itself.
set(OPSWAP_FLAGS_avx512 ${OPSWAP_FLAGS_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16
  -mprefer-vector-width=512)
set(cpu_rooms ${OPSWAP_ROOMS})
if(OPSWAP_LEVELS STREQUAL "none")
  set(cpu_rooms)
endif()
foreach(declaration ${cpu_rooms})
  get_filename_component(folder "${declaration}" DIRECTORY)
  get_filename_component(room "${folder}" NAME)
  if(OPSWAP_CPU_ROOMS AND NOT room IN_LIST OPSWAP_CPU_ROOMS)
    continue()
  endif()
  opswap_pass(${room} ref portable)
  foreach(level ${OPSWAP_LEVELS})
    opswap_pass(${room} ${level} ${level} ${OPSWAP_FLAGS_${level}})
  endforeach()
endforeach()

include("${CMAKE_CURRENT_LIST_DIR}/cuda.cmake")

find_package(Threads REQUIRED)
add_library(opswap SHARED ${OPSWAP_CORE} "${OPSWAP_GEN_DIR}/registry.gen.cpp" ${OPSWAP_OBJECTS})
add_dependencies(opswap opswap_generate)
target_include_directories(opswap PUBLIC "${OPSWAP_ROOT}/native/include" PRIVATE ${OPSWAP_INCLUDES})
target_compile_options(opswap PRIVATE ${OPSWAP_WARNINGS})
# The checks of a call run in nanoseconds when their loops over dimensions are unrolled.
if(NOT OPSWAP_SANITIZE AND NOT OPSWAP_EMULATE)
  set_source_files_properties("${OPSWAP_GEN_DIR}/registry.gen.cpp" PROPERTIES COMPILE_OPTIONS -O3)
endif()
target_compile_definitions(opswap PRIVATE ${OPSWAP_CUDA_DEFINITIONS})
target_include_directories(opswap SYSTEM PRIVATE ${OPSWAP_CUDA_INCLUDES})
target_link_libraries(opswap PRIVATE ${OPSWAP_CUDA_LIBRARIES} Threads::Threads)
target_link_options(opswap PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/exports.map")
set_target_properties(opswap PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/exports.map")
if(NOT OPSWAP_SANITIZE)
  target_link_options(opswap PRIVATE -Wl,-z,defs)
endif()
