# The converter's hot loops, a static library for the addon; its SIMD part is compiled once per instruction set.
# -ffp-contract=off: statistics are the same bits on every instruction set.
set(OPSWAP_CONVERT_SIMD encode.cpp decode.cpp unpack.cpp)
set(isas "")
set(objects "")
list(TRANSFORM OPSWAP_CONVERT_SIMD PREPEND "${OPSWAP_ROOT}/native/convert/" OUTPUT_VARIABLE simd)
foreach(level ${OPSWAP_LEVELS})
  set(target "convert_${level}")
  add_library(${target} OBJECT ${simd})
  target_include_directories(${target} PRIVATE ${OPSWAP_INCLUDES} "${OPSWAP_ROOT}/native")
  target_compile_definitions(${target} PRIVATE OPSWAP_ISA=isa_${level} OPSWAP_ISA_NAME="${level}")
  target_compile_options(${target} PRIVATE ${OPSWAP_WARNINGS} ${OPSWAP_KERNEL_FLAGS} -ffp-contract=off
    ${OPSWAP_FLAGS_${level}})
  string(APPEND isas "X(${level})")
  list(APPEND objects $<TARGET_OBJECTS:${target}>)
endforeach()

file(GLOB OPSWAP_CONVERT_SOURCES CONFIGURE_DEPENDS "${OPSWAP_ROOT}/native/convert/*.cpp")
list(REMOVE_ITEM OPSWAP_CONVERT_SOURCES ${simd})
add_library(opswap_convert STATIC ${OPSWAP_CONVERT_SOURCES} ${objects})
target_include_directories(opswap_convert PUBLIC "${OPSWAP_ROOT}/native")
target_compile_definitions(opswap_convert PRIVATE "OPSWAP_CONVERT_ISAS=${isas}")
target_compile_options(opswap_convert PRIVATE ${OPSWAP_WARNINGS})
target_link_libraries(opswap_convert PUBLIC Threads::Threads)
