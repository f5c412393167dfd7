// Devices, their memory and streams, without a CUDA header. Memory is asked for here and by no kernel.
#pragma once
#include <cstdint>

namespace xp {

int device_count();          // 0 without a driver or a device; never throws, never called at import
const char* device_archs();  // compiled in, separated by commas

void* device_allocate(int64_t bytes, int device);
void device_free(void* memory, int device);
// In the order of `stream`; pageable host memory may be changed again as soon as the call returns.
void device_copy_in(void* to, const void* host, int64_t bytes, int device, uintptr_t stream);
// As above, and waits until the bytes are there.
void device_copy_out(void* host, const void* from, int64_t bytes, int device, uintptr_t stream);

uintptr_t stream_create(int device);  // does not wait for the legacy default stream
void stream_destroy(uintptr_t stream, int device);
void stream_synchronize(uintptr_t stream, int device);
void stream_wait(uintptr_t waiting, uintptr_t for_stream, int device);  // for what is in it by now

#ifdef XP_SIM
void set_schedule(unsigned seed);
void set_shared_limit(int bytes);
#endif

}  // namespace xp
