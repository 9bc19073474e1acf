# opswap._opswap: the pybind11 module, installed beside libopswap.so in the Python package.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 3.0 CONFIG REQUIRED)
file(GLOB OPSWAP_PYTHON_SOURCES CONFIGURE_DEPENDS "${OPSWAP_ROOT}/native/bindings/python/*.cpp")
pybind11_add_module(_opswap ${OPSWAP_PYTHON_SOURCES})
target_compile_options(_opswap PRIVATE -Wall -Wextra -Wno-unused-parameter)
target_link_libraries(_opswap PRIVATE opswap ${CMAKE_DL_LIBS})
install(TARGETS _opswap LIBRARY DESTINATION opswap)
install(FILES $<TARGET_FILE:opswap> DESTINATION opswap)
