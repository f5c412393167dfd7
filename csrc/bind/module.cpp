#include "bind/bindings.h"

PYBIND11_MODULE(_native, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Compiled kernels of xplain. Use xplain.native, which checks its arguments and says what is wrong.";
  xp::bind_status(m);
  xp::bind_perturb(m);
  xp::bind_order(m);
  xp::bind_delta(m);
  xp::bind_describe(m);
  xp::bind_texture(m);
#ifdef XP_WITH_CUDA
  xp::bind_gram(m);
  xp::bind_device(m);
#endif
}
