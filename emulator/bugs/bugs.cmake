# Kernels with one seeded bug each, and the clean ones: bugs.py says what is edited and what must be found.
set(bugs_folder "${CMAKE_CURRENT_BINARY_DIR}/bugs")
file(GLOB bug_sources CONFIGURE_DEPENDS bugs/*.py bugs/*.h kernels/*.h "${OPSWAP_EMULATOR_KERNELS}/common/device/*.h"
  "${OPSWAP_EMULATOR_KERNELS}/*/sm90.cu")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${bug_sources})
execute_process(COMMAND "${Python3_EXECUTABLE}" -B bugs/bugs.py "${bugs_folder}"
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" COMMAND_ERROR_IS_FATAL ANY)

foreach(build plain asan tsan)
  add_executable(bugs_${build} bugs/main.cpp)
  target_include_directories(bugs_${build} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}" "${bugs_folder}")
  target_compile_options(bugs_${build} PRIVATE ${OPSWAP_EMULATED_FLAGS} -Wno-unknown-pragmas -Wno-psabi)
  target_precompile_headers(bugs_${build} PRIVATE ${OPSWAP_EMULATED_HEADERS})
  target_link_libraries(bugs_${build} PRIVATE rooms_${build})
endforeach()
target_compile_options(bugs_asan PRIVATE -fsanitize=address)
target_link_options(bugs_asan PRIVATE -fsanitize=address)
target_compile_options(bugs_tsan PRIVATE -fsanitize=thread)
target_link_options(bugs_tsan PRIVATE -fsanitize=thread)

function(add_kernel name builds words place)
  set(source "${bugs_folder}/${name}.cpp")
  set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS
    "-iquote;${bugs_folder}/${name}")
  foreach(build ${builds})
    target_sources(bugs_${build} PRIVATE "${source}")
    set(test emulator.bugs.${build}.${name})
    add_test(NAME ${test} COMMAND bugs_${build} ${name})
    set_tests_properties(${test} PROPERTIES TIMEOUT 120 ENVIRONMENT
      "ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0;TSAN_OPTIONS=halt_on_error=1")
    if(words MATCHES "^(data race|heap-buffer-overflow)$")  # the sanitizer's report ends the process
      string(REPLACE "." "\\." place_pattern "${place}")
      set_tests_properties(${test} PROPERTIES PASS_REGULAR_EXPRESSION "${words}.*(${place_pattern})")
    endif()
  endforeach()
endfunction()
include("${bugs_folder}/bugs.cmake")
