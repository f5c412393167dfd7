// Gram matrices of feature maps, G = scale F F^T with F [C, P], for a list of layers in one launch, and the way back,
// dF = scale (dG + dG^T) F. Gatys et al. 2016, equations 3 to 6.
//
// The sum over P is cut into pieces whose number depends on the shapes alone; pieces are added in a fixed order.
// Results are therefore bit-identical from run to run and on devices with the same tensor cores.
#pragma once
#include "core/dtype.h"

namespace xp {

constexpr int kMostGrams = 24;  // layers in one launch: their description travels in the kernel's arguments

enum class GramPrecision : int { tf32 = 0, tf32x3 = 1 };  // of float32 factors; the second splits each in two, 3e-7

struct GramLayer {
  const void* features;  // [C, P] contiguous
  float* gram;           // [C, C]
  int64_t channels, positions;
  float scale;
};

// How a list of layers is cut: `tile` rows by `tile` columns of the upper triangle, `pieces` of the sum over positions.
struct GramPlan {
  int tile = 0;
  int count = 0;
  struct Entry {
    GramLayer layer;
    int tiles_per_side, pieces;
    int64_t piece;  // positions per piece
    int first_item, first_tile;
  } entry[kMostGrams];
  int items = 0, tiles = 0;
  int64_t workspace() const { return int64_t{items} * tile * tile; }  // floats
};

// `tile` is 64 or 128; 128 needs 108 KB of shared memory.
GramPlan plan_grams(const GramLayer* layers, int count, DType dtype, int tile);

struct GramBackward {
  const float* upstream;  // dG [C, C]
  const void* features;   // [C, P]
  void* out;              // dF [C, P]
  void* workspace;        // (dG + dG^T) scale as elements [C, pitch]
  int64_t channels, positions;
  float scale;
  DType dtype;
  int64_t pitch() const { return (channels + 15) / 16 * 16; }
};

void gram_device(const GramPlan& plan, DType dtype, GramPrecision precision, float* workspace, int device,
                 uintptr_t stream);
void gram_backward_device(const GramBackward& args, int device, uintptr_t stream);
int gram_tile(int device);  // the larger tile whose shared memory the device has

}  // namespace xp
