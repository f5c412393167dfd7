// Tensor core products of the symmetrised cotangent with the features. A stage of shared memory holds 64 bytes of the
// sum over channels.
#include "core/check.h"
#include "core/tensor_core.h"
#include "kernels/gram.h"

namespace xp {
namespace {

constexpr int kPatchPitch = 33;  // of 32 x 32 patches: no two rows start in one bank

// S = scale (dG + dG^T) as elements, padded with zeros to `pitch` columns
template <class T>
XP_KERNEL void XP_BOUNDS(256, 4) symmetrise_kernel(GramBackward a, int64_t pitch) {
  XP_SHARED(float, patch);
  const int64_t n = a.channels, bx = int64_t{block_x()} * 32, by = int64_t{block_y()} * 32;
  const int x = static_cast<int>(thread_x()) % 32, y = static_cast<int>(thread_x()) / 32;
  for (int q = 0; q < 32; q += 8) {
    const int64_t r = bx + y + q, c = by + x;
    patch[(y + q) * kPatchPitch + x] = r < n && c < n ? a.upstream[r * n + c] : 0.f;
  }
  sync_block();
  for (int q = 0; q < 32; q += 8) {
    const int64_t r = by + y + q, c = bx + x;
    if (r >= n || c >= pitch) continue;
    const float v = c < n ? (a.upstream[r * n + c] + patch[x * kPatchPitch + y + q]) * a.scale : 0.f;
    static_cast<T*>(a.workspace)[r * pitch + c] = from_float<T>(v);
  }
}

// 64 channels x 64 positions per block; 64 bytes of the sum over channels per stage
template <class T>
struct BackwardShape {
  static constexpr int element = sizeof(T), depth = 64 / element, stages = 4;
  static constexpr int a_pitch = 64 + 16, b_pitch = element == 2 ? 64 * 2 + 16 : (64 + 8) * 4;
  static constexpr int a_bytes = 64 * a_pitch, stage = a_bytes + depth * b_pitch;
};

template <class T, int access>
XP_D void load_backward_stage(unsigned char* stage, const GramBackward& a, int64_t pitch, int64_t m0, int64_t p0,
                              int64_t k) {
  using S = BackwardShape<T>;
  const T *s = static_cast<const T*>(a.workspace), *f = static_cast<const T*>(a.features);
  XP_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int q = i * 128 + static_cast<int>(thread_x()), r = q / 4, c = q % 4;
    const int64_t at = k + c * (16 / S::element);
    const bool inside = m0 + r < a.channels && at < pitch;
    copy_async<16>(stage + r * S::a_pitch + c * 16, inside ? s + (m0 + r) * pitch + at : s, inside ? 16 : 0);
  }
  constexpr int per_row = 64 * S::element / access;
  XP_UNROLL8
  for (int i = 0; i < S::depth * per_row / 128; ++i) {
    const int q = i * 128 + static_cast<int>(thread_x()), r = q / per_row, c = q % per_row;
    const int64_t p = p0 + c * (access / S::element);
    const bool inside = k + r < a.channels && p < a.positions;
    const T* from = inside ? f + (k + r) * a.positions + p : f;
    unsigned char* to = stage + S::a_bytes + r * S::b_pitch + c * access;
    if constexpr (access >= 4) {
      copy_async<access>(to, from, inside ? static_cast<int>(min64(access, (a.positions - p) * S::element)) : 0);
    } else {
      T v{};
      if (inside) v = *from;
      memcpy(to, &v, S::element);
    }
  }
}

template <class T, int access>
XP_KERNEL void XP_BOUNDS(128, 3) gram_backward_kernel(GramBackward a, int64_t pitch) {
  using S = BackwardShape<T>;
  XP_SHARED(unsigned char, shared);
  const int64_t p0 = int64_t{block_x()} * 64, m0 = int64_t{block_y()} * 64;
  const int warp = static_cast<int>(thread_x()) / 32, lane = static_cast<int>(thread_x()) % 32;
  const int row0 = warp % 2 * 32, col0 = warp / 2 * 32, steps = static_cast<int>(ceil_div(a.channels, S::depth));
  float sum[2][4][4] = {};
  const auto request = [&](int step) {
    load_backward_stage<T, access>(shared + step % S::stages * S::stage, a, pitch, m0, p0, int64_t{step} * S::depth);
  };
  for (int s = 0; s < S::stages - 1; ++s) {
    if (s < steps) request(s);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<S::stages - 2>();
    sync_block();
    if (step + S::stages - 1 < steps) request(step + S::stages - 1);
    commit_copies();
    const unsigned char *sa = shared + step % S::stages * S::stage, *sb = sa + S::a_bytes;
    XP_UNROLL
    for (int k = 0; k < 2; ++k) {
      uint32_t left[2][4];
      XP_UNROLL
      for (int i = 0; i < 2; ++i)
        load_matrices(left[i], sa + (row0 + i * 16 + lane % 16) * S::a_pitch + k * 32 + lane / 16 * 16);
      if constexpr (S::element == 2) {
        uint32_t right[2][4];  // rows are channels: transposed, so that a lane gets two channels of one position
        XP_UNROLL
        for (int j = 0; j < 2; ++j)
          load_matrices_transposed(right[j],
                                   sb + (k * 16 + lane % 16) * S::b_pitch + (col0 + j * 16 + lane / 16 * 8) * 2);
        XP_UNROLL
        for (int q = 0; q < 8; ++q)
          multiply_add(sum[q / 4][q % 4], left[q / 4], right[q % 4 / 2][q % 2 * 2], right[q % 4 / 2][q % 2 * 2 + 1],
                       T{});
      } else {
        XP_UNROLL
        for (int q = 0; q < 8; ++q) left[q / 4][q % 4] = round_tf32(left[q / 4][q % 4]);
        XP_UNROLL
        for (int j = 0; j < 4; ++j) {
          const unsigned char* at = sb + (k * 8 + lane % 4) * S::b_pitch + (col0 + j * 8 + lane / 4) * 4;
          uint32_t b0, b1;
          memcpy(&b0, at, 4);
          memcpy(&b1, at + 4 * S::b_pitch, 4);
          XP_UNROLL
          for (int i = 0; i < 2; ++i) multiply_add(sum[i][j], left[i], round_tf32(b0), round_tf32(b1), T{});
        }
      }
    }
  }
  XP_UNROLL
  for (int q = 0; q < 2 * 4 * 4; ++q) {
    const int i = q / 16, j = q / 4 % 4, v = q % 4;
    const int64_t r = m0 + row0 + i * 16 + lane / 4 + v / 2 * 8, p = p0 + col0 + j * 8 + lane % 4 * 2 + v % 2;
    if (r < a.channels && p < a.positions) static_cast<T*>(a.out)[r * a.positions + p] = from_float<T>(sum[i][j][v]);
  }
}

template <class T>
void run_backward(const GramBackward& a, Stream stream) {
  const int64_t pitch = a.pitch(), rows = ceil_div(a.channels, 64);
  check_grid("gram_backward", max64(rows, ceil_div(a.channels, 32)), 1);
  launch("gram_backward", &symmetrise_kernel<T>,
         Dim3(static_cast<unsigned>(ceil_div(pitch, 32)), static_cast<unsigned>(ceil_div(a.channels, 32))), 256,
         32 * kPatchPitch * 4, stream, a, pitch);
  const uintptr_t addresses =
      reinterpret_cast<uintptr_t>(a.features) | static_cast<uintptr_t>(a.positions * int64_t{sizeof(T)});
  const auto go = [&](auto kernel) {
    launch("gram_backward", kernel, Dim3(static_cast<unsigned>(ceil_div(a.positions, 64)), static_cast<unsigned>(rows)),
           128, BackwardShape<T>::stages * BackwardShape<T>::stage, stream, a, pitch);
  };
  switch (widest_access(addresses, sizeof(T))) {
    case 16:
      return go(&gram_backward_kernel<T, 16>);
    case 4:
      return go(&gram_backward_kernel<T, 4>);
    default:
      if constexpr (sizeof(T) == 2) return go(&gram_backward_kernel<T, 2>);
  }
}

}  // namespace

void gram_backward_device(const GramBackward& a, int device, uintptr_t stream_handle) {
  if (a.channels == 0 || a.positions == 0) return;
  const DeviceGuard guard(device);
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  switch (a.dtype) {
    case DType::f32:
      return run_backward<float>(a, stream);
    case DType::f16:
      return run_backward<f16>(a, stream);
    case DType::bf16:
      return run_backward<bf16>(a, stream);
    default:
      refuse("gram_backward", std::string("takes float32, float16 and bfloat16, not ") + name_of(a.dtype));
  }
}

}  // namespace xp
