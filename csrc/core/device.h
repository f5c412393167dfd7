// The few words of CUDA that kernels use, for nvcc and for the fiber simulator (g++ with XP_SIM).
//
// Launches never allocate and never wait; they go to the caller's stream, are checked, and can be captured in a graph.
#pragma once
#include <stdexcept>
#include <string>

#include "core/check.h"
#include "core/portable.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define XP_KERNEL __global__
#define XP_D __device__ __forceinline__
#define XP_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define XP_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char xp_shared[]; \
  T* name = reinterpret_cast<T*>(xp_shared)

namespace xp {
using Stream = cudaStream_t;
using Dim3 = dim3;

inline void check_cuda(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return;
  (void)cudaGetLastError();  // clears what can be cleared, so that the next caller is not blamed
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(e) + ": " + cudaGetErrorString(e));
}
inline int shared_limit() {  // bytes of shared memory a block may ask for on the current device
  int device = 0, bytes = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory limit");
  return bytes;
}

// The device that tensors lie on, for the time of one call.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check_cuda(cudaGetDevice(&before_), "cudaGetDevice");
    if (before_ != device) check_cuda(cudaSetDevice(device), "cudaSetDevice");
  }
  ~DeviceGuard() { (void)cudaSetDevice(before_); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
};

XP_D unsigned thread_x() { return threadIdx.x; }
XP_D unsigned threads_x() { return blockDim.x; }
XP_D unsigned block_x() { return blockIdx.x; }
XP_D unsigned block_y() { return blockIdx.y; }
XP_D unsigned block_z() { return blockIdx.z; }
XP_D unsigned blocks_x() { return gridDim.x; }
XP_D void sync_block() { __syncthreads(); }

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), Dim3 grid, unsigned threads, int shared, Stream stream, A... args) {
  if (shared > 48 * 1024)
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared), name);
  kernel<<<grid, threads, shared, stream>>>(args...);
  check_cuda(cudaPeekAtLastError(), name);
}
}  // namespace xp

#elif defined(XP_SIM)
#include "sim/fibers.h"

#define XP_KERNEL static
#define XP_D inline
#define XP_BOUNDS(threads, blocks)
#define XP_SHARED(T, name) T* name = reinterpret_cast<T*>(::sim::machine().block->shared)

namespace xp {
using Stream = void*;
using Dim3 = ::sim::Dim3;

inline int shared_limit() { return ::sim::machine().shared_limit; }
struct DeviceGuard {
  explicit DeviceGuard(int) {}
};

XP_D unsigned thread_x() { return ::sim::machine().thread->index; }
XP_D unsigned threads_x() { return ::sim::machine().block->threads; }
XP_D unsigned block_x() { return ::sim::machine().block->index.x; }
XP_D unsigned block_y() { return ::sim::machine().block->index.y; }
XP_D unsigned block_z() { return ::sim::machine().block->index.z; }
XP_D unsigned blocks_x() { return ::sim::machine().block->grid.x; }
XP_D void sync_block() { ::sim::sync_block(); }

template <class... P, class... A>
void launch(const char*, void (*kernel)(P...), Dim3 grid, unsigned threads, int shared, Stream, A... args) {
  ::sim::Launch(grid, threads, shared).run([&] { kernel(args...); });
}
}  // namespace xp
#endif

namespace xp {

// V elements moved by one access.
template <class T, int V>
struct alignas(sizeof(T) * V) Vec {
  T v[V];
};

#if defined(__CUDACC__) || defined(XP_SIM)
#define XP_HAS_DEVICE 1

inline void check_grid(const char* name, int64_t y, int64_t z) {
  if (y > 65535 || z > 65535) refuse(name, "a launch would need more than 65535 blocks along an axis");
}

// f(i) for i in [0, n), in no particular order
template <class F>
XP_KERNEL void XP_BOUNDS(256, 4) for_each_kernel(int64_t n, F f) {
  for (int64_t i = int64_t{block_x()} * threads_x() + thread_x(); i < n; i += int64_t{blocks_x()} * threads_x()) f(i);
}
template <class F>
void for_each(const char* name, int64_t n, Stream stream, F f) {
  if (n <= 0) return;
  launch(name, &for_each_kernel<F>, Dim3(static_cast<unsigned>(min64(ceil_div(n, 256), 1 << 14))), 256, 0, stream, n,
         f);
}
#endif

}  // namespace xp
