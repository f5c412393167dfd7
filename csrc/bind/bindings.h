// One function per family of kernels; module.cpp calls them all.
#pragma once
#include <pybind11/pybind11.h>

namespace xp {

void bind_status(pybind11::module_& m);
void bind_perturb(pybind11::module_& m);
void bind_order(pybind11::module_& m);
void bind_delta(pybind11::module_& m);
void bind_describe(pybind11::module_& m);
void bind_texture(pybind11::module_& m);
// in builds with device kernels alone
void bind_gram(pybind11::module_& m);
void bind_device(pybind11::module_& m);

}  // namespace xp
