#include "kernels/devices.h"

#include "core/device.h"

#ifndef XP_CUDA_ARCHS
#define XP_CUDA_ARCHS "simulator"
#endif

namespace xp {

const char* device_archs() { return XP_CUDA_ARCHS; }

#ifdef XP_SIM

int device_count() { return 1; }
void* device_allocate(int64_t bytes, int) {
  void* memory = std::aligned_alloc(256, static_cast<size_t>(ceil_div(bytes + 1, 256) * 256));
  std::memset(memory, 0xff, static_cast<size_t>(bytes));
  return memory;
}
void device_free(void* memory, int) { std::free(memory); }
void device_copy_in(void* to, const void* host, int64_t bytes, int, uintptr_t) { std::memcpy(to, host, bytes); }
void device_copy_out(void* host, const void* from, int64_t bytes, int, uintptr_t) { std::memcpy(host, from, bytes); }
uintptr_t stream_create(int) { return 1; }
void stream_destroy(uintptr_t, int) {}
void stream_synchronize(uintptr_t, int) {}
void stream_wait(uintptr_t, uintptr_t, int) {}
void set_schedule(unsigned seed) { sim::machine().seed = seed; }
void set_shared_limit(int bytes) { sim::machine().shared_limit = bytes; }

#else

namespace {
cudaStream_t as_stream(uintptr_t s) { return reinterpret_cast<cudaStream_t>(s); }
}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  (void)cudaGetLastError();
  return 0;
}
void* device_allocate(int64_t bytes, int device) {
  const DeviceGuard guard(device);
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, static_cast<size_t>(max64(bytes, 1))), "device memory");
  return memory;
}
void device_free(void* memory, int device) {
  int before = 0;  // from a destructor: nothing may be thrown, and at exit the driver may be gone
  if (cudaGetDevice(&before) != cudaSuccess) return;
  (void)cudaSetDevice(device);
  (void)cudaFree(memory);
  (void)cudaSetDevice(before);
}
void device_copy_in(void* to, const void* host, int64_t bytes, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  check_cuda(cudaMemcpyAsync(to, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, as_stream(stream)),
             "copy in");
}
void device_copy_out(void* host, const void* from, int64_t bytes, int device, uintptr_t stream) {
  const DeviceGuard guard(device);
  check_cuda(cudaMemcpyAsync(host, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, as_stream(stream)),
             "copy out");
  check_cuda(cudaStreamSynchronize(as_stream(stream)), "copy out");
}
uintptr_t stream_create(int device) {
  const DeviceGuard guard(device);
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  return reinterpret_cast<uintptr_t>(stream);
}
void stream_destroy(uintptr_t stream, int) { (void)cudaStreamDestroy(as_stream(stream)); }
void stream_synchronize(uintptr_t stream, int device) {
  const DeviceGuard guard(device);
  check_cuda(cudaStreamSynchronize(as_stream(stream)), "stream");
}
void stream_wait(uintptr_t waiting, uintptr_t for_stream, int device) {
  const DeviceGuard guard(device);
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
  const cudaError_t recorded = cudaEventRecord(event, as_stream(for_stream));
  const cudaError_t waits = recorded == cudaSuccess ? cudaStreamWaitEvent(as_stream(waiting), event, 0) : recorded;
  (void)cudaEventDestroy(event);
  check_cuda(waits, "event");
}

#endif

}  // namespace xp
