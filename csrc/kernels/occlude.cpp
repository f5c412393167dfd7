#include "kernels/occlude.h"

#include <emmintrin.h>

#include <type_traits>
#include <vector>

#include "core/check.h"
#include "core/parallel_for.h"
#include "kernels/edit_rows.h"

namespace xp {
namespace {

template <class T>
using Bits = std::conditional_t<
    sizeof(T) == 1, uint8_t,
    std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;

constexpr int64_t kLine = 64;                 // bytes of a cache line
constexpr int64_t kPiece = 16;                // bytes of the smallest store that passes the caches by
constexpr int64_t kBand = 8;                  // rows of one edit that are written one after another
constexpr int64_t kMaskBytes = 1 << 18;       // of the masks of a band, which stay in the second cache
constexpr int64_t kStreamAbove = 8 << 20;     // output larger than this passes the caches by
constexpr int64_t kBytesPerThread = 1 << 19;  // less is not worth starting a thread for

// Elements i .. i + bytes / sizeof(T) of a row, past the caches.
template <int kBytes, class T, class F>
XP_HD void stream_out(T* out, int64_t i, F element) {
  constexpr int64_t count = kBytes / static_cast<int64_t>(sizeof(T));
  alignas(kBytes) T some[count];
  for (int64_t v = 0; v < count; ++v) some[v] = element(i + v);
  auto* to = reinterpret_cast<__m128i*>(out + i);
  const auto* from = reinterpret_cast<const __m128i*>(some);
  for (int k = 0; k < kBytes / kPiece; ++k) _mm_stream_si128(to + k, _mm_load_si128(from + k));
}

// out[i] = element(i) for i in [0, n); with `stream`, memory is written without being read first. Only what fills less
// than a piece is stored as usual: the processor joins pieces to lines, also across the rows of a band.
template <class T, class F>
XP_HD void write_row(T* out, int64_t n, bool stream, F element) {
  constexpr int64_t per_line = kLine / static_cast<int64_t>(sizeof(T)), per_piece = kPiece / sizeof(T);
  int64_t i = 0;
  if (stream) {
    const auto at = reinterpret_cast<uintptr_t>(out);
    const int64_t odd = (kPiece - at % kPiece) % kPiece / static_cast<int64_t>(sizeof(T));
    const int64_t head = (kLine - at % kLine) % kLine / static_cast<int64_t>(sizeof(T));
    for (; i < min64(odd, n); ++i) out[i] = element(i);
    for (; i < head && i + per_piece <= n; i += per_piece) stream_out<kPiece>(out, i, element);
    if (i >= head)
      for (; i + per_line <= n; i += per_line) stream_out<kLine>(out, i, element);
    for (; i + per_piece <= n; i += per_piece) stream_out<kPiece>(out, i, element);
  }
  for (; i < n; ++i) out[i] = element(i);
}

template <class K>
XP_CLONES void copy_row(K* out, const K* from, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return from[i]; });
}
template <class K>
XP_CLONES void select_row(K* out, const K* x, const K* fill, const K* keep, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return static_cast<K>((x[i] & keep[i]) | (fill[i] & ~keep[i])); });
}
template <class T>
XP_CLONES void blend_row(T* out, const float* x, const float* fill, const float* mask, int64_t n, bool stream) {
  write_row(out, n, stream, [=](int64_t i) { return from_float<T>(blend(x[i], fill[i], mask[i])); });
}
template <class T>
XP_CLONES void convert_row(T* out, const float* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<T>(from[i]);
}

// One row of x and of fill, normalised; `step` from one position to the next and `plane` from one channel to the next.
void prepare_row(const OccludeArgs& a, int64_t n, int64_t y, int64_t step, int64_t plane, float* x, float* fill) {
  for (int64_t c = 0; c < a.channels; ++c, x += plane, fill += plane) {
    const float* xr = a.x + n * a.xs.n + c * a.xs.c + y * a.xs.y;
    const float* fr = a.fill + n * a.fs.n + c * a.fs.c + y * a.fs.y;
    for (int64_t i = 0; i < a.width; ++i) {
      x[i * step] = normalise(xr[i * a.xs.x], a.scale, a.shift, c);
      fill[i * step] = normalise(fr[i * a.fs.x], a.scale, a.shift, c);
    }
  }
}

// Per position -> per element of an interleaved row.
template <class V>
void spread(V* row, int64_t width, int64_t channels) {
  for (int64_t x = width - 1; x >= 0; --x)
    for (int64_t c = channels - 1; c >= 0; --c) row[x * channels + c] = row[x];
}

struct Task {
  int64_t n, m0, m1, y0, y1;
};

// Writes a band of rows of one edit after another: rows of one plane follow each other in memory, so the lines that two
// rows share are written whole.
template <class T, class Edits>
class Filler {
 public:
  Filler(const OccludeArgs& args, const Edits& edits, bool stream)
      : a(args),
        rows(edits, args.width),
        stream(stream),
        interleaved(args.os.x != 1),
        per_row(args.width * args.channels),
        per_mask(interleaved ? per_row : args.width),
        band(max64(1,
                   min64(kBand, kMaskBytes / (kEditBlock * max64(per_mask, 1) * static_cast<int64_t>(sizeof(Mask)))))),
        masks(kEditBlock * band * per_mask),
        kinds(kEditBlock * band, RowKind::mixed),
        x(band * per_row),
        fill(band * per_row),
        x_bits(Edits::hard ? band * per_row : 0),
        fill_bits(x_bits.size()) {}

  void run(const Task& task) {
    rows.block(task.n, task.m0, task.m1);
    for (int64_t y = task.y0; y < task.y1; y += band) {
      const int64_t count = min64(band, task.y1 - y);
      for (int64_t k = 0; k < count; ++k) prepare(task, y, k);
      if constexpr (Edits::hard) {
        convert_row(reinterpret_cast<T*>(x_bits.data()), x.data(), band * per_row);
        convert_row(reinterpret_cast<T*>(fill_bits.data()), fill.data(), band * per_row);
      }
      for (int64_t m = task.m0; m < task.m1; ++m) write(task, m, y, count);
    }
    if (stream) _mm_sfence();
  }

 private:
  using Mask = std::conditional_t<Edits::hard, Bits<T>, float>;

  // row k of a band: the picture, the fill, and the mask of every edit
  void prepare(const Task& task, int64_t y, int64_t k) {
    const int64_t step = interleaved ? a.channels : 1, plane = interleaved ? 1 : band * a.width;
    prepare_row(a, task.n, y + k, step, plane, &x[k * per_mask], &fill[k * per_mask]);
    rows.row(y + k);
    for (int64_t m = task.m0; m < task.m1; ++m) {
      const int64_t number = (m - task.m0) * band + k;
      Mask* mask = &masks[number * per_mask];
      if constexpr (Edits::hard)
        kinds[number] = rows.keep(m, mask);
      else
        rows.mask(m, mask);
      if (interleaved && kinds[number] == RowKind::mixed) spread(mask, a.width, a.channels);
    }
  }

  void write(const Task& task, int64_t m, int64_t y, int64_t count) {
    T* out = static_cast<T*>(a.out) + (task.n * a.edits + m - a.start) * a.os.n + y * a.os.y;
    const int64_t first = (m - task.m0) * band, planes = interleaved ? 1 : a.channels;
    bool alike = a.os.y == per_mask;  // rows that follow each other and are of one kind are written as one
    for (int64_t k = 1; k < count; ++k) alike = alike && kinds[first + k] == kinds[first];
    for (int64_t c = 0; c < planes; ++c) {
      T* to = out + c * a.os.c;
      const int64_t from = c * band * a.width;
      if (alike)
        write_run(to, from, first, count * per_mask);
      else
        for (int64_t k = 0; k < count; ++k) write_run(to + k * a.os.y, from + k * per_mask, first + k, per_mask);
    }
  }

  void write_run(T* out, int64_t from, int64_t number, int64_t count) {
    const Mask* mask = &masks[number * per_mask];
    if constexpr (Edits::hard) {
      auto* bits = reinterpret_cast<Bits<T>*>(out);
      const RowKind kind = kinds[number];
      if (kind == RowKind::mixed)
        select_row(bits, &x_bits[from], &fill_bits[from], mask, count, stream);
      else
        copy_row(bits, kind == RowKind::all_kept ? &x_bits[from] : &fill_bits[from], count, stream);
    } else {
      blend_row(out, &x[from], &fill[from], mask, count, stream);
    }
  }

  const OccludeArgs& a;
  typename rows_of<Edits>::type rows;
  bool stream, interleaved;
  int64_t per_row, per_mask, band;
  std::vector<Mask> masks;     // [edit of the block][row of the band][per_mask]
  std::vector<RowKind> kinds;  // of these
  std::vector<float> x, fill;  // planar [channel][row of the band][x], interleaved [row][x][channel]
  std::vector<Bits<T>> x_bits, fill_bits;
};

template <class T, class Edits>
void fill_rows(const OccludeArgs& args, const Edits& edits, int threads) {
  const int64_t bytes = (args.stop - args.start) * args.channels * args.height * args.width * sizeof(T);
  if (bytes == 0) return;
  const int count =
      static_cast<int>(min64(threads > 0 ? threads : available_threads(), max64(1, bytes / kBytesPerThread)));
  // rows of one item, at most a block of edits, cut into bands of the plane while there is less than work for all
  const int64_t blocks = ceil_div(args.stop - args.start, kEditBlock);
  const int64_t bands = min64(args.height, blocks >= 4 * count || count == 1 ? 1 : ceil_div(4 * count, blocks));
  std::vector<Task> tasks;
  for (int64_t r = args.start; r < args.stop;) {
    const int64_t n = r / args.edits, m0 = r % args.edits;
    const int64_t m1 = min64(min64(args.edits, m0 + kEditBlock), m0 + args.stop - r);
    for (int64_t b = 0; b < bands; ++b)
      tasks.push_back(Task{n, m0, m1, args.height * b / bands, args.height * (b + 1) / bands});
    r += m1 - m0;
  }
  const bool stream = bytes > kStreamAbove && reinterpret_cast<uintptr_t>(args.out) % sizeof(T) == 0;
  parallel_for(static_cast<int64_t>(tasks.size()), 1, count, [&](int64_t begin, int64_t end) {
    Filler<T, Edits> filler(args, edits, stream);
    for (int64_t i = begin; i < end; ++i) filler.run(tasks[i]);
  });
}

}  // namespace

template <class Edits>
void occlude_cpu(const OccludeArgs& args, const Edits& edits, DType out_type, int threads) {
  switch (out_type) {
    case DType::f32:
      return fill_rows<float>(args, edits, threads);
    case DType::f16:
      return fill_rows<f16>(args, edits, threads);
    case DType::bf16:
      return fill_rows<bf16>(args, edits, threads);
    case DType::f64:
      return fill_rows<double>(args, edits, threads);
    case DType::u8:
      return fill_rows<uint8_t>(args, edits, threads);
    default:
      refuse("occlude", std::string("cannot write ") + name_of(out_type));
  }
}
void pack_keep_cpu(const PackKeep& pack, int64_t words, int threads) {
  parallel_for(words, 1 << 14, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) pack(i);
  });
}
template void occlude_cpu(const OccludeArgs&, const WindowEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const CoalitionEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const RankedEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const GridEdits&, DType, int);
template void occlude_cpu(const OccludeArgs&, const FullEdits&, DType, int);

}  // namespace xp
