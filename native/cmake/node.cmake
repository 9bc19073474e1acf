# opswap.node: the N-API addon. cmake-js passes CMAKE_JS_INC, CMAKE_JS_SRC and CMAKE_JS_LIB.
include("${CMAKE_CURRENT_LIST_DIR}/convert.cmake")
execute_process(COMMAND node -p "require('node-addon-api').include_dir" WORKING_DIRECTORY "${OPSWAP_ROOT}"
  OUTPUT_VARIABLE NODE_ADDON_API OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
file(GLOB OPSWAP_NODE_SOURCES CONFIGURE_DEPENDS "${OPSWAP_ROOT}/native/bindings/node/*.cpp")
add_library(opswap_node MODULE ${OPSWAP_NODE_SOURCES} ${CMAKE_JS_SRC})
set_target_properties(opswap_node PROPERTIES PREFIX "" OUTPUT_NAME "opswap" SUFFIX ".node"
  LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
target_include_directories(opswap_node SYSTEM PRIVATE ${CMAKE_JS_INC} "${OPSWAP_ROOT}/${NODE_ADDON_API}")
target_compile_definitions(opswap_node PRIVATE NAPI_VERSION=9 NAPI_CPP_EXCEPTIONS)
target_compile_options(opswap_node PRIVATE -Wall -Wextra -Wno-unused-parameter)
target_link_libraries(opswap_node PRIVATE opswap opswap_convert ${CMAKE_JS_LIB})
target_link_options(opswap_node PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/node-exports.map")
set_target_properties(opswap_node PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/node-exports.map")
