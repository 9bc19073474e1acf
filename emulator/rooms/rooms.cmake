# Rooms' kernels by themselves, for benchmarks and seeded bugs: rooms_BUILD links to runtime_BUILD.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
get_filename_component(root "${OPSWAP_EMULATOR_DIR}/.." ABSOLUTE)
set(rooms_gen "${CMAKE_CURRENT_BINARY_DIR}/gen")
file(GLOB declarations CONFIGURE_DEPENDS "${root}/kernels/*/op.json" "${root}/native/gen/*.py")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${declarations})
execute_process(COMMAND ${CMAKE_COMMAND} -E env "PYTHONPATH=${root}/native" PYTHONDONTWRITEBYTECODE=1
    "${Python3_EXECUTABLE}" -m gen "${root}" build "${rooms_gen}" COMMAND_ERROR_IS_FATAL ANY)

foreach(build plain asan tsan)
  add_library(rooms_${build} STATIC rooms/room.cpp)
  target_include_directories(rooms_${build} PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}" "${rooms_gen}"
    "${root}/native/core" "${root}/native/include")
  target_link_libraries(rooms_${build} PUBLIC runtime_${build})
endforeach()

add_executable(bench EXCLUDE_FROM_ALL "${root}/test/bench/_emulator.cpp")
target_compile_options(bench PRIVATE -O2 -g -Wno-unknown-pragmas)
target_link_libraries(bench PRIVATE rooms_plain)
