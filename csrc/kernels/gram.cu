// Tiles of the upper triangle by tensor cores: rows of F travel through a ring of shared memory stages by asynchronous
// copies, 128 bytes of the sum per stage. A row's pitch of 144 bytes keeps matrix loads free of bank conflicts.
#include "kernels/gram.h"

#include "core/check.h"
#include "core/tensor_core.h"

namespace xp {
namespace {

constexpr int kStageBytes = 128, kPitch = 144;
constexpr int kItemsWanted =
    264;  // blocks to fill the largest device twice; a constant, so that bits do not depend on it

XP_HD void tile_at(int index, int per_side, int& i, int& j) {  // row by row of the upper triangle
  i = 0;
  while (index >= per_side - i) index -= per_side - i++;
  j = i + index;
}

// One stage of one operand: `rows` rows x 128 bytes from position k on; what lies outside F becomes 0. `access` is the
// widest copy that the rows' alignment allows.
template <class T, int rows, int threads, int access>
XP_D void load_stage(unsigned char* stage, const GramLayer& layer, int64_t first_row, int64_t k, int64_t k_end) {
  constexpr int per_row = kStageBytes / access, elements = access / static_cast<int>(sizeof(T));
  const T* f = static_cast<const T*>(layer.features);
  XP_UNROLL8
  for (int i = 0; i < rows * per_row / threads; ++i) {
    const int q = i * threads + static_cast<int>(thread_x()), r = q / per_row, c = q % per_row;
    const int64_t at = k + c * elements;
    const bool inside = first_row + r < layer.channels && at < k_end;
    const T* from = inside ? f + (first_row + r) * layer.positions + at : f;
    unsigned char* to = stage + r * kPitch + c * access;
    if constexpr (access >= 4) {
      copy_async<access>(to, from, inside ? static_cast<int>(min64(access, (k_end - at) * int64_t{sizeof(T)})) : 0);
    } else {  // 16-bit rows of odd length: no asynchronous copy is that narrow
      uint16_t v = 0;
      if (inside) memcpy(&v, from, 2);
      memcpy(to, &v, 2);
    }
  }
}

template <class T, GramPrecision precision>
XP_D void product(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (sizeof(T) == 2 || precision == GramPrecision::tf32) {
    multiply_add(c, a, b0, b1, T{});
  } else {  // (high + low)(high + low) without low low
    uint32_t high[4], low[4];
    XP_UNROLL
    for (int i = 0; i < 4; ++i) {
      high[i] = a[i] & 0xffffe000u;
      low[i] = float_bits(bits_float(a[i]) - bits_float(high[i]));
    }
    const uint32_t h0 = b0 & 0xffffe000u, h1 = b1 & 0xffffe000u;
    const uint32_t l0 = float_bits(bits_float(b0) - bits_float(h0)), l1 = float_bits(bits_float(b1) - bits_float(h1));
    multiply_add(c, low, h0, h1, T{});
    multiply_add(c, high, l0, l1, T{});
    multiply_add(c, high, h0, h1, T{});
  }
}

// One block: one piece of one tile, into the workspace.
template <class T, int tile, int warp_rows, int warp_cols, int stages, int access, GramPrecision precision>
XP_KERNEL void XP_BOUNDS((tile / warp_rows) * (tile / warp_cols) * 32, tile == 64 ? 3 : 1)
    gram_kernel(GramPlan plan, float* workspace) {
  constexpr int threads = (tile / warp_rows) * (tile / warp_cols) * 32;
  constexpr int row_frags = warp_rows / 16, col_frags = warp_cols / 8;
  constexpr int elements = kStageBytes / static_cast<int>(sizeof(T)), operand = tile * kPitch;
  XP_SHARED(unsigned char, shared);
  int which = 0;
  while (which + 1 < plan.count && static_cast<int>(block_x()) >= plan.entry[which + 1].first_item) ++which;
  const GramPlan::Entry& e = plan.entry[which];
  const int item = static_cast<int>(block_x()) - e.first_item, piece = item % e.pieces;
  int ti, tj;
  tile_at(item / e.pieces, e.tiles_per_side, ti, tj);
  const bool diagonal = ti == tj;
  const int64_t k0 = piece * e.piece, k1 = min64(e.layer.positions, k0 + e.piece);
  const int steps = static_cast<int>(ceil_div(k1 - k0, elements));
  const int warp = static_cast<int>(thread_x()) / 32, lane = static_cast<int>(thread_x()) % 32;
  const int row0 = warp % (tile / warp_rows) * warp_rows, col0 = warp / (tile / warp_rows) * warp_cols;

  float sum[row_frags][col_frags][4] = {};
  const auto request = [&](int step) {
    unsigned char* stage = shared + step % stages * 2 * operand;
    const int64_t k = k0 + int64_t{step} * elements;
    load_stage<T, tile, threads, access>(stage, e.layer, int64_t{ti} * tile, k, k1);
    if (!diagonal) load_stage<T, tile, threads, access>(stage + operand, e.layer, int64_t{tj} * tile, k, k1);
  };
  for (int s = 0; s < stages - 1; ++s) {
    if (s < steps) request(s);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<stages - 2>();
    sync_block();  // this stage has arrived, and everyone is done with the one before
    if (step + stages - 1 < steps) request(step + stages - 1);
    commit_copies();
    const unsigned char* a_stage = shared + step % stages * 2 * operand;
    const unsigned char* b_stage = diagonal ? a_stage : a_stage + operand;
    XP_UNROLL
    for (int k = 0; k < kStageBytes / 32; ++k) {
      uint32_t a[row_frags][4], b[col_frags / 2][4];
      XP_UNROLL
      for (int i = 0; i < row_frags; ++i)
        load_matrices(a[i], a_stage + (row0 + i * 16 + lane % 16) * kPitch + k * 32 + lane / 16 * 16);
      XP_UNROLL
      for (int j = 0; j < col_frags / 2; ++j)
        load_matrices(b[j], b_stage + (col0 + j * 16 + lane % 8 + lane / 16 * 8) * kPitch + k * 32 + lane / 8 % 2 * 16);
      if constexpr (sizeof(T) == 4 && precision == GramPrecision::tf32) {
        XP_UNROLL
        for (int q = 0; q < row_frags * 4; ++q) a[q / 4][q % 4] = round_tf32(a[q / 4][q % 4]);
        XP_UNROLL
        for (int q = 0; q < col_frags * 2; ++q) b[q / 4][q % 4] = round_tf32(b[q / 4][q % 4]);
      }
      XP_UNROLL
      for (int q = 0; q < row_frags * col_frags; ++q) {
        const int i = q / col_frags, j = q % col_frags;
        product<T, precision>(sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
  float* out = workspace + int64_t{block_x()} * tile * tile;
  XP_UNROLL
  for (int q = 0; q < row_frags * col_frags * 2; ++q) {
    const int i = q / (col_frags * 2), j = q / 2 % col_frags, half = q % 2;
    const int r = row0 + i * 16 + lane / 4 + half * 8, c = col0 + j * 8 + lane % 4 * 2;
    *reinterpret_cast<Vec<float, 2>*>(out + r * tile + c) =
        Vec<float, 2>{{sum[i][j][half * 2], sum[i][j][half * 2 + 1]}};
  }
}

// One block: a 32 x 32 patch of one tile; pieces are added in order, and the patch is written with its mirror image.
constexpr int kPatchPitch = 33;
template <int tile>
XP_KERNEL void XP_BOUNDS(256, 4) gram_sum_kernel(GramPlan plan, const float* workspace) {
  constexpr int per_side = tile / 32;
  XP_SHARED(float, patch);
  const int flat = static_cast<int>(block_x()) / (per_side * per_side),
            sub = static_cast<int>(block_x()) % (per_side * per_side);
  int which = 0;
  while (which + 1 < plan.count && flat >= plan.entry[which + 1].first_tile) ++which;
  const GramPlan::Entry& e = plan.entry[which];
  int ti, tj;
  tile_at(flat - e.first_tile, e.tiles_per_side, ti, tj);
  const int r0 = sub / per_side * 32, c0 = sub % per_side * 32;
  const int x = static_cast<int>(thread_x()) % 32, y = static_cast<int>(thread_x()) / 32;
  const float* from = workspace + (int64_t{e.first_item} + int64_t{flat - e.first_tile} * e.pieces) * (tile * tile) +
                      r0 * tile + c0 + x;
  XP_UNROLL
  for (int q = 0; q < 4; ++q) {
    float sum = 0.f;
    for (int p = 0; p < e.pieces; ++p) sum += from[int64_t{p} * (tile * tile) + (y + q * 8) * tile];
    patch[(y + q * 8) * kPatchPitch + x] = sum * e.layer.scale;
  }
  sync_block();
  const int64_t row = int64_t{ti} * tile + r0, col = int64_t{tj} * tile + c0, n = e.layer.channels;
  XP_UNROLL
  for (int q = 0; q < 4; ++q) {
    const int r = y + q * 8;
    // on the diagonal only the upper half is read, for both, so that the result is symmetric to the bit
    if (row + r < n && col + x < n && row + r <= col + x)
      e.layer.gram[(row + r) * n + col + x] = patch[r * kPatchPitch + x];
    if (col + r < n && row + x < n && row + x < col + r)
      e.layer.gram[(col + r) * n + row + x] = patch[x * kPatchPitch + r];
  }
}

// ---- launches --------------------------------------------------------------------------------------------------

constexpr int shared_of(int tile) { return (tile == 64 ? 4 : 3) * 2 * tile * kPitch; }

template <class T, int tile, int warp_rows, int stages, int access, GramPrecision precision>
void run(const GramPlan& plan, float* workspace, Stream stream) {
  launch("gram", &gram_kernel<T, tile, warp_rows, 32, stages, access, precision>,
         Dim3(static_cast<unsigned>(plan.items)), (tile / warp_rows) * (tile / 32) * 32, shared_of(tile), stream, plan,
         workspace);
  launch("gram", &gram_sum_kernel<tile>, Dim3(static_cast<unsigned>(plan.tiles * (tile / 32) * (tile / 32))), 256,
         32 * kPatchPitch * 4, stream, plan, static_cast<const float*>(workspace));
}

template <class T, GramPrecision precision>
void choose(const GramPlan& plan, float* workspace, Stream stream) {
  uintptr_t addresses = 0;
  for (int i = 0; i < plan.count; ++i)
    addresses |= reinterpret_cast<uintptr_t>(plan.entry[i].layer.features) |
                 static_cast<uintptr_t>(plan.entry[i].layer.positions * int64_t{sizeof(T)});
  const int access = widest_access(addresses, sizeof(T));
  if (plan.tile == 64) {
    if (access == 16) return run<T, 64, 32, 4, 16, precision>(plan, workspace, stream);
    if (access == 4) return run<T, 64, 32, 4, 4, precision>(plan, workspace, stream);
    if constexpr (sizeof(T) == 2) return run<T, 64, 32, 4, 2, precision>(plan, workspace, stream);
  } else {
    if (access == 16) return run<T, 128, 64, 3, 16, precision>(plan, workspace, stream);
    if (access == 4) return run<T, 128, 64, 3, 4, precision>(plan, workspace, stream);
    if constexpr (sizeof(T) == 2) return run<T, 128, 64, 3, 2, precision>(plan, workspace, stream);
  }
}

}  // namespace

GramPlan plan_grams(const GramLayer* layers, int count, DType dtype, int tile) {
  require(count >= 1 && count <= kMostGrams, "gram", "takes 1 to 24 layers at a time");
  require(tile == 64 || tile == 128, "gram", "tiles are 64 or 128");
  GramPlan plan;
  plan.tile = tile;
  plan.count = count;
  const int64_t elements = kStageBytes / size_of(dtype);
  const auto tiles_of = [](int64_t side) { return side * (side + 1) / 2; };
  int64_t tiles = 0;
  for (int i = 0; i < count; ++i) tiles += tiles_of(ceil_div(layers[i].channels, tile));
  require(tiles < (1 << 24), "gram", "there are too many channels");
  for (int i = 0; i < count; ++i) {
    GramPlan::Entry& e = plan.entry[i];
    e.layer = layers[i];
    e.tiles_per_side = static_cast<int>(ceil_div(layers[i].channels, tile));
    const int64_t steps = max64(1, ceil_div(layers[i].positions, elements));
    const int64_t wanted = max64(1, min64(ceil_div(kItemsWanted, max64(1, tiles)), ceil_div(steps, 4)));
    e.piece = ceil_div(steps, wanted) * elements;
    e.pieces = static_cast<int>(max64(1, ceil_div(layers[i].positions, e.piece)));
    e.first_item = plan.items;
    e.first_tile = plan.tiles;
    plan.tiles += static_cast<int>(tiles_of(e.tiles_per_side));
    plan.items += static_cast<int>(tiles_of(e.tiles_per_side)) * e.pieces;
  }
  return plan;
}

void gram_device(const GramPlan& plan, DType dtype, GramPrecision precision, float* workspace, int device,
                 uintptr_t stream_handle) {
  if (plan.items == 0) return;
  const DeviceGuard guard(device);
  require(shared_of(plan.tile) <= shared_limit(), "gram", "this device has too little shared memory for tiles of 128");
  const auto stream = reinterpret_cast<Stream>(stream_handle);
  switch (dtype) {
    case DType::f32:
      if (precision == GramPrecision::tf32) return choose<float, GramPrecision::tf32>(plan, workspace, stream);
      return choose<float, GramPrecision::tf32x3>(plan, workspace, stream);
    case DType::f16:
      return choose<f16, GramPrecision::tf32>(plan, workspace, stream);
    case DType::bf16:
      return choose<bf16, GramPrecision::tf32>(plan, workspace, stream);
    default:
      refuse("gram", std::string("takes float32, float16 and bfloat16, not ") + name_of(dtype));
  }
}

int gram_tile(int device) {
  const DeviceGuard guard(device);
  return shared_of(128) <= shared_limit() ? 128 : 64;
}

}  // namespace xp
