// Lines that a process which dies of a bad access still writes: where it was.
#pragma once

#include <pybind11/pybind11.h>

namespace opswap_faults {

void define(pybind11::module_ &m);

}  // namespace opswap_faults
