# The emulator's runtime as a target, for its own tests and for a libopswap that runs each sm90.cu on it.
set(OPSWAP_EMULATOR_DIR "${CMAKE_CURRENT_LIST_DIR}")
get_filename_component(OPSWAP_EMULATOR_KERNELS "${OPSWAP_EMULATOR_DIR}/../kernels" ABSOLUTE)
file(GLOB OPSWAP_EMULATOR_SOURCES CONFIGURE_DEPENDS "${OPSWAP_EMULATOR_DIR}/runtime/*.cpp")

# Kernels and what drives them: -g1 has the lines that reports name, and -O2 takes twice as long to compile.
set(OPSWAP_EMULATED_FLAGS -O1 -g1)
set(OPSWAP_EMULATED_HEADERS <algorithm> <cmath> <functional> <map> <string> <vector> <emulator/emulator.h>)
# The checks of AddressSanitizer as calls: inlined, they are most of what there is to compile.
set(OPSWAP_EMULATED_ADDRESS -fsanitize=address "SHELL:--param asan-instrumentation-with-call-threshold=0")

# `sanitizer` is what its users are built with: empty, address or thread. ThreadSanitizer does not instrument the
# runtime, which tells it what fibers and asynchronous units do.
function(opswap_add_emulator target kind sanitizer)
  add_library(${target} ${kind} ${OPSWAP_EMULATOR_SOURCES})
  target_compile_definitions(${target} PUBLIC OPSWAP_EMULATE)
  set(instrumentation -fno-sanitize=all)
  if(sanitizer MATCHES "address")
    target_compile_definitions(${target} PUBLIC OPSWAP_EMU_ASAN)
    set(instrumentation -O1 ${OPSWAP_EMULATED_ADDRESS})
    target_compile_options(${target} INTERFACE ${OPSWAP_EMULATED_ADDRESS})
  elseif(sanitizer MATCHES "thread")
    target_compile_definitions(${target} PUBLIC OPSWAP_EMU_TSAN)
  endif()
  target_include_directories(${target} PUBLIC "${OPSWAP_EMULATOR_DIR}/include" "${OPSWAP_EMULATOR_KERNELS}")
  target_link_libraries(${target} PUBLIC ${CMAKE_DL_LIBS})
  target_compile_options(${target} INTERFACE -fno-optimize-sibling-calls)  # a report's line is that of the call
  target_compile_options(${target} PRIVATE
    -O2 -mno-red-zone -Wall -Wextra -Wno-unknown-pragmas -Wno-restrict ${instrumentation})
  target_precompile_headers(${target} PRIVATE ${OPSWAP_EMULATED_HEADERS} "${OPSWAP_EMULATOR_DIR}/runtime/block.h")
endfunction()
