// Torch operators without torch's headers: boxed kernels over the stable C shim that libtorch_cpu exports.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace opswap_torch {

using Fail = void (*)(const std::string &code, const std::string &message);  // throws

// Adds torch_open, torch_bind and torch_framework to the module.
void define(pybind11::module_ &m, Fail fail);

}  // namespace opswap_torch
