# opswap._opswap: the pybind11 module, installed beside libopswap.so in the Python package.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 3.0 CONFIG REQUIRED)
file(GLOB OPSWAP_PYTHON_SOURCES CONFIGURE_DEPENDS "${OPSWAP_ROOT}/native/bindings/python/*.cpp")
pybind11_add_module(_opswap ${OPSWAP_PYTHON_SOURCES})
# Compared at import with the version inside the library.
file(READ "${OPSWAP_ROOT}/package.json" OPSWAP_PACKAGE_JSON)
string(JSON OPSWAP_PACK_VERSION GET "${OPSWAP_PACKAGE_JSON}" version)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${OPSWAP_ROOT}/package.json")
target_compile_definitions(_opswap PRIVATE OPSWAP_PACK_VERSION="${OPSWAP_PACK_VERSION}")
# A wheel names no folder of the machine that made it, and __FILE__ does.
target_compile_options(_opswap PRIVATE "-ffile-prefix-map=${OPSWAP_ROOT}/=")
target_compile_options(_opswap PRIVATE -Wall -Wextra -Wno-unused-parameter)
target_link_libraries(_opswap PRIVATE opswap ${CMAKE_DL_LIBS})
target_link_options(_opswap PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/python-exports.map")
set_target_properties(_opswap PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/python-exports.map")
install(TARGETS _opswap LIBRARY DESTINATION opswap)
install(FILES $<TARGET_FILE:opswap> DESTINATION opswap)
# What evidence from a user's card is made with: declarations, references, and what the kernels are timed against.
install(FILES "${OPSWAP_ROOT}/native/core/dtypes.def" DESTINATION opswap/evidence)
install(DIRECTORY "${OPSWAP_ROOT}/kernels" DESTINATION opswap/evidence FILES_MATCHING PATTERN "op.json" PATTERN "*.py"
  PATTERN "__pycache__" EXCLUDE PATTERN "device" EXCLUDE PATTERN "sm90" EXCLUDE)
if(OPSWAP_SBOM)
  install(FILES "${OPSWAP_SBOM}" DESTINATION "${SKBUILD_METADATA_DIR}/sboms")
endif()
