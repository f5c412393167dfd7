#include "bind/bindings.h"
#include "core/parallel_for.h"
#if defined(XP_SIM) || defined(XP_WITH_CUDA)
#include "kernels/devices.h"
#endif

namespace xp {
namespace {

// The variant of the CPU loops that the loader chose, by the same test as the compiler's resolver makes.
const char* cpu_variant() {
#if XP_HAS_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
#endif
  return "baseline";
}

}  // namespace

void bind_status(pybind11::module_& m) {
  m.def("cpu_variant", &cpu_variant);
  m.def("available_threads", &available_threads);
#if defined(XP_SIM) || defined(XP_WITH_CUDA)
  m.attr("built_with_cuda") = true;
  m.attr("cuda_archs") = device_archs();
  m.def("cuda_device_count", &device_count);
#else
  m.attr("built_with_cuda") = false;
  m.attr("cuda_archs") = "";
  m.def("cuda_device_count", [] { return 0; });
#endif
#ifdef XP_SIM
  m.def("set_shared_limit", &set_shared_limit, "Bytes of shared memory that a block of the simulated device may have");
  m.def("set_schedule", &set_schedule,
        "Seed of the order in which the simulator runs blocks, warps and lanes; 0: in order");
#endif
}

}  // namespace xp
