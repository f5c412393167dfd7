// The families that have device kernels, on the fiber simulator: the same functions as xplain._native, on CPU memory.
#include "bind/bindings.h"

PYBIND11_MODULE(_native, m) {
  m.doc() = "Device kernels of xplain on the fiber simulator, for tests.";
  xp::bind_status(m);
  xp::bind_perturb(m);
  xp::bind_order(m);
  xp::bind_gram(m);
  xp::bind_device(m);
}
