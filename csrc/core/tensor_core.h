// Asynchronous copies and tensor core instructions: PTX on the device, and on the simulator an emulation that moves
// every element between lanes exactly as the hardware does. Fragment layouts: PTX ISA, "Warp-level matrix
// instructions".
#pragma once
#include "core/device.h"
#include "core/dtype.h"

namespace xp {

// A float32 whose low 13 bits are dropped by a tf32 product, rounded to nearest first: truncation would bias sums of
// features that are all positive.
XP_HD uint32_t round_tf32(uint32_t v) { return (v & 0x7f800000u) == 0x7f800000u ? v : v + 0x1000u; }

// widest of 16, 4 and the element that divides every row's address
inline int widest_access(uintptr_t addresses, int element) {
  return addresses % 16 == 0 ? 16 : addresses % 4 == 0 ? 4 : element;
}

#if defined(__CUDACC__)

XP_D uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// copies the first `valid` of `bytes` bytes and clears the rest
template <int bytes>
XP_D void copy_async(void* to, const void* from, int valid) {
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid));
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from), "n"(bytes),
                 "r"(valid));
}
XP_D void commit_copies() { asm volatile("cp.async.commit_group;"); }
template <int pending>
XP_D void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending));
}
// four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8
XP_D void load_matrices(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row)));
}
XP_D void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row)));
}
// c [16, 8] += a [16, 16] b [16, 8] in float32
XP_D void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, bf16) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
XP_D void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, f16) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// c [16, 8] += a [16, 8] b [8, 8], tf32 factors
XP_D void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#elif defined(XP_SIM)

template <int bytes>
XP_D void copy_async(void* to, const void* from, int valid) {
  if (reinterpret_cast<uintptr_t>(to) % bytes || (valid && reinterpret_cast<uintptr_t>(from) % bytes))
    throw std::runtime_error("simulator: an asynchronous copy is not aligned");
  sim::machine().thread->open.push_back({to, from, bytes, valid});
}
XP_D void commit_copies() {
  auto& t = *sim::machine().thread;
  t.committed.push_back(std::move(t.open));
  t.open.clear();
}
template <int pending>
XP_D void wait_copies() {
  auto& groups = sim::machine().thread->committed;
  while (static_cast<int>(groups.size()) > pending) {
    for (const sim::Copy& c : groups.front()) {
      memset(c.to, 0, c.bytes);
      memcpy(c.to, c.from, c.valid);
    }
    groups.erase(groups.begin());
  }
}
inline void load_matrices_emulated(uint32_t (&r)[4], const void* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16) throw std::runtime_error("simulator: a matrix row is not aligned");
  memcpy(sim::exchange(sim::lane()), &row, sizeof row);
  sim::sync_warp();
  const unsigned lane = sim::lane();
  const auto row_of = [](unsigned l) {
    const unsigned char* p;
    memcpy(&p, sim::exchange(l), sizeof p);
    return p;
  };
  for (int j = 0; j < 4; ++j) {
    if (!transposed) {
      memcpy(&r[j], row_of(j * 8 + lane / 4) + 4 * (lane % 4), 4);
    } else {
      uint16_t low, high;
      memcpy(&low, row_of(j * 8 + 2 * (lane % 4)) + 2 * (lane / 4), 2);
      memcpy(&high, row_of(j * 8 + 2 * (lane % 4) + 1) + 2 * (lane / 4), 2);
      r[j] = low | uint32_t{high} << 16;
    }
  }
  sim::sync_warp();
}
XP_D void load_matrices(uint32_t (&r)[4], const void* row) { load_matrices_emulated(r, row, false); }
XP_D void load_matrices_transposed(uint32_t (&r)[4], const void* row) { load_matrices_emulated(r, row, true); }

// a_at(row, k) and b_at(k, column) read an element out of the lanes' registers
template <int depth, class A, class B>
void multiply_add_emulated(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, A a_at, B b_at) {
  uint32_t* mine = sim::exchange(sim::lane());
  for (int i = 0; i < 4; ++i) mine[i] = a[i];
  mine[4] = b0;
  mine[5] = b1;
  sim::sync_warp();
  const int lane = static_cast<int>(sim::lane());
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
    float sum = 0;
    for (int k = 0; k < depth; ++k) sum += a_at(row, k) * b_at(k, col);
    c[i] += sum;
  }
  sim::sync_warp();
}
template <class T>
XP_D void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, T) {
  if constexpr (sizeof(T) == 2) {
    const auto half = [](uint32_t pair, int k) { return to_float(T{static_cast<uint16_t>(pair >> (16 * (k % 2)))}); };
    multiply_add_emulated<16>(
        c, a, b0, b1,
        [&](int row, int k) { return half(sim::exchange((row % 8) * 4 + (k % 8) / 2)[row / 8 + 2 * (k / 8)], k); },
        [&](int k, int col) { return half(sim::exchange(col * 4 + (k % 8) / 2)[4 + k / 8], k); });
  } else {
    const auto tf32 = [](uint32_t v) { return bits_float(v & 0xffffe000u); };
    multiply_add_emulated<8>(
        c, a, b0, b1, [&](int row, int k) { return tf32(sim::exchange((row % 8) * 4 + k % 4)[row / 8 + 2 * (k / 4)]); },
        [&](int k, int col) { return tf32(sim::exchange(col * 4 + k % 4)[4 + k / 4]); });
  }
}

#endif

}  // namespace xp
