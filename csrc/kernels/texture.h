// Textures by example: pixels whose surroundings are like those in a sample, one after another (Efros and Leung 1999),
// level by level of a pyramid (Wei and Levoy 2000), or whole blocks cut along the seam where they differ least (Efros
// and Freeman 2001). All in whole numbers, so that every machine finds the same pixels; chance comes in as numbers that
// are given.
#pragma once
#include "core/portable.h"

namespace xp {

struct Sample {
  const uint8_t* pixels;  // [height, width, channels]
  int64_t height, width, channels;
  const uint8_t* at(int64_t y, int64_t x) const { return pixels + (y * width + x) * channels; }
};

// The largest distance that still counts as the smallest one.
XP_HD int64_t near_enough(int64_t best, int64_t slack) { return best + best * slack / 1000; }

struct GrowArgs {
  Sample sample;
  uint8_t* out;            // [height, width, channels]; what is known already stays
  int32_t* source;         // [height, width]: row * sample width + column, -1 where nothing is known yet
  const int32_t* order;    // [count]: places of out that are filled, one after another
  const double* draws;     // [count] in 0..1: which of those that are near enough
  const int32_t* weights;  // [window, window]
  int64_t height, width, count, window, slack;  // slack: per mille of the smallest distance
};

// One level of a pyramid, filled in the order in which one reads. A pixel's surroundings are what lies before it on its
// own level, and all of a window about its parent on the level above, as far as these lie inside.
struct LevelArgs {
  Sample sample, sample_above;  // the latter counts where there is a level above
  uint8_t* out;                 // [height, width, channels]
  int32_t* source;              // [height, width]: row * sample width + column
  const uint8_t* above;         // the finished level above, [above_height, above_width, channels]; null for none
  const int32_t* source_above;
  int64_t height, width, above_height, above_width, window, above_window;
};

struct QuiltArgs {
  Sample sample;
  uint8_t* out;         // [rows * step + overlap, columns * step + overlap, channels], step = block - overlap
  const double* draws;  // [rows, columns]
  int64_t rows, columns, block, overlap, slack;
};

void grow_cpu(const GrowArgs& args);
void level_cpu(const LevelArgs& args);
void quilt_cpu(const QuiltArgs& args);

}  // namespace xp
