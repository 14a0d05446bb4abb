// Labels are read once, in chunks that a thread holds in registers. Positives go to a list in any order. The list is
// then spread by class and each class is sorted, so the result does not depend on the order of the list.
#include "cuda/positives.hpp"

#include <algorithm>

#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"
#include "cuda/sort.hpp"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 64;  // bytes that a thread reads at once

struct LabelErrors {
  unsigned long long first_bad;  // flat index of the first bad label
};

// The results of reading the labels.
struct LabelCounts {
  unsigned long long found;  // positives
  long long longest;         // positives of the class that has most
  LabelErrors errors;
};
constexpr LabelCounts kNoLabels{0, 0, {kNoIndex}};

struct Pair {
  std::uint32_t row;
  std::uint32_t cls;
};

// The sources below describe the chunk number `slot` of a thread: which of its (at most 64) elements are positives, and
// the row and column of an element.

// Bit i is set if element i of a chunk is a one. Records elements that are neither a label nor a mark in *bad.
template <class Source>
__device__ unsigned long long ones_of_chunk(const Source& source, std::int64_t slot, unsigned long long* bad) {
  unsigned long long found = 0;
  for (int i = 0; i < Source::kPerChunk && source.is_there(slot, i); ++i) {
    const auto element = source.load(slot, i);
    const int label = label_of(element);
    if (label == 0) continue;
    if (source.unread.bits != nullptr && source.unread.has(source.row(slot, i), source.col(slot, i))) continue;
    if (label == 1) found |= 1ull << i;
    if (label == kBadLabel && (mark_of(element) & source.marks) == 0)
      note_first(bad, source.row(slot, i), source.cols, source.col(slot, i));
  }
  return found;
}

// A shard without gaps: chunks of whole vectors, across rows.
template <class T>
struct DenseLabels {
  Shard shard;
  std::int64_t cols;
  std::int64_t skipped;  // elements before the first vector boundary; they belong to the last chunk
  std::int64_t elements;
  unsigned marks;
  UnknownView unread;

  static constexpr int kPerChunk = kChunk / static_cast<int>(sizeof(T));
  static constexpr int kVectors = kChunk / static_cast<int>(sizeof(uint4));
  __host__ __device__ std::int64_t whole_chunks() const { return (elements - skipped) / kPerChunk; }
  std::int64_t slots() const {
    return whole_chunks() + (elements - whole_chunks() * kPerChunk + kPerChunk - 1) / kPerChunk;
  }

  __device__ std::int64_t element(std::int64_t slot, int i) const {
    if (slot < whole_chunks()) return skipped + slot * kPerChunk + i;
    const std::int64_t left = (slot - whole_chunks()) * kPerChunk + i;  // among the elements in no whole chunk
    return left < skipped ? left : left + whole_chunks() * kPerChunk;
  }
  __device__ std::int64_t row(std::int64_t slot, int i) const { return shard.first_row + element(slot, i) / cols; }
  __device__ std::int64_t col(std::int64_t slot, int i) const { return element(slot, i) % cols; }

  __device__ bool is_there(std::int64_t slot, int i) const { return element(slot, i) < elements; }
  __device__ T load(std::int64_t slot, int i) const {
    return load_element<T>(shard.data + element(slot, i) * std::int64_t{sizeof(T)});
  }

  __device__ unsigned long long positives(std::int64_t slot, unsigned long long* bad) const {
    if (slot < whole_chunks()) {
      const auto* vectors = reinterpret_cast<const uint4*>(shard.data + element(slot, 0) * std::int64_t{sizeof(T)});
      unsigned any = 0;
      uint4 vector[kVectors];
#pragma unroll
      for (int i = 0; i < kVectors; ++i) vector[i] = vectors[i];
#pragma unroll
      for (int i = 0; i < kVectors; ++i) any |= vector[i].x | vector[i].y | vector[i].z | vector[i].w;
      if (any == 0) return 0;  // nearly always
    }
    return ones_of_chunk(*this, slot, bad);
  }
};

// A shard of any strides, element by element along the shorter stride, so that neighbouring threads read neighbours.
template <class T>
struct StridedLabels {
  Shard shard;
  std::int64_t cols;
  bool by_column;
  unsigned marks;
  UnknownView unread;

  static constexpr int kPerChunk = 8;
  std::int64_t lines() const { return by_column ? cols : shard.rows; }
  __host__ __device__ std::int64_t line_size() const { return by_column ? shard.rows : cols; }
  // A warp reads kPerChunk runs of 32 elements of a line.
  __host__ __device__ std::int64_t slots_of_line() const {
    return (line_size() + kWarp * kPerChunk - 1) / (kWarp * kPerChunk) * kWarp;
  }
  std::int64_t slots() const { return lines() * slots_of_line(); }

  __device__ std::int64_t index_in_line(std::int64_t slot, int i) const {
    const std::int64_t within = slot % slots_of_line();
    return (within / kWarp * kPerChunk + i) * kWarp + within % kWarp;
  }
  __device__ std::int64_t row(std::int64_t slot, int i) const {
    return shard.first_row + (by_column ? index_in_line(slot, i) : slot / slots_of_line());
  }
  __device__ std::int64_t col(std::int64_t slot, int i) const {
    return by_column ? slot / slots_of_line() : index_in_line(slot, i);
  }
  __device__ bool is_there(std::int64_t slot, int i) const { return index_in_line(slot, i) < line_size(); }
  __device__ T load(std::int64_t slot, int i) const { return load_element<T>(shard.at(row(slot, i), col(slot, i))); }

  __device__ unsigned long long positives(std::int64_t slot, unsigned long long* bad) const {
    return ones_of_chunk(*this, slot, bad);
  }
};

// A column of class indices: every row is a positive of its class.
template <class T>
struct ClassIndices {
  Shard shard;
  std::int64_t classes;

  std::int64_t slots() const { return shard.rows; }
  __device__ std::int64_t row(std::int64_t slot, int) const { return shard.first_row + slot; }
  __device__ std::int64_t col(std::int64_t slot, int) const {
    return static_cast<std::int64_t>(load_element<T>(shard.at(row(slot, 0), 0)));
  }
  __device__ unsigned long long positives(std::int64_t slot, unsigned long long* bad) const {
    const auto index = load_element<T>(shard.at(row(slot, 0), 0));
    if (static_cast<std::uint64_t>(index) < static_cast<std::uint64_t>(classes)) return 1;  // a negative index is huge
    note_first(bad, row(slot, 0), 1, 0);
    return 0;
  }
};

// Appends the positives to `list` up to its capacity. Counts all of them, and in by_class those of each class.
template <class Source>
__global__ void __launch_bounds__(kThreads)
    collect_positives(Source source, std::int64_t slots, Pair* list, unsigned long long capacity,
                      unsigned long long* by_class, LabelCounts* counts) {
  __shared__ unsigned long long ends[kThreads / kWarp];
  __shared__ unsigned long long block_begin;
  for (std::int64_t first = blockIdx.x * std::int64_t{kThreads}; first < slots;
       first += gridDim.x * std::int64_t{kThreads}) {
    const std::int64_t slot = first + threadIdx.x;
    unsigned long long found = slot < slots ? source.positives(slot, &counts->errors.first_bad) : 0;
    if (!__syncthreads_or(found != 0)) continue;
    const auto count = static_cast<unsigned long long>(__popcll(found));
    unsigned long long total = 0;
    const unsigned long long end = block_inclusive_sum<kThreads>(count, ends, total);
    if (threadIdx.x == 0) block_begin = atomicAdd(&counts->found, total);
    __syncthreads();
    unsigned long long slot_in_list = block_begin + end - count;
    for (; found != 0; found &= found - 1, ++slot_in_list) {
      const int i = __ffsll(static_cast<long long>(found)) - 1;
      const auto cls = static_cast<std::uint32_t>(source.col(slot, i));
      if (by_class != nullptr) atomicAdd(&by_class[cls], 1ull);
      if (slot_in_list < capacity) list[slot_in_list] = {static_cast<std::uint32_t>(source.row(slot, i)), cls};
    }
  }
}

// The offsets from the counts, by one block. `next` gets a copy for spread_by_class.
constexpr int kOffsetThreads = 1024;
__global__ void __launch_bounds__(kOffsetThreads)
    make_offsets(const unsigned long long* by_class, std::int64_t classes, std::int64_t* offset,
                 unsigned long long* next, LabelCounts* counts) {
  __shared__ long long ends[kOffsetThreads / kWarp];
  long long carry = 0;
  long long longest = 0;
  for (std::int64_t first = 0; first < classes; first += kOffsetThreads) {
    const std::int64_t c = first + threadIdx.x;
    const long long count = c < classes ? static_cast<long long>(by_class[c]) : 0;
    longest = count > longest ? count : longest;
    long long total = 0;
    const long long begin = carry + block_inclusive_sum<kOffsetThreads>(count, ends, total) - count;
    carry += total;
    if (c < classes) {
      offset[c] = begin;
      next[c] = static_cast<unsigned long long>(begin);
    }
  }
  if (threadIdx.x == 0) offset[classes] = carry;
  atomicMax(&counts->longest, longest);
}

__global__ void __launch_bounds__(kThreads)
    spread_by_class(const Pair* list, std::int64_t count, unsigned long long* next, std::uint32_t* row,
                    std::uint32_t* cls) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  const Pair pair = list[i];
  const unsigned long long slot_in_list = atomicAdd(&next[pair.cls], 1ull);
  row[slot_in_list] = pair.row;
  cls[slot_in_list] = pair.cls;
}

__global__ void __launch_bounds__(kThreads)
    class_of_each(const std::int64_t* offset, std::int64_t classes, std::int64_t count, std::uint32_t* cls) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  cls[i] = static_cast<std::uint32_t>(segment_of(offset, classes, i));
}

// The caller's stream may be destroyed before the positives are used.
void move_to_library_stream(Positives& positives) {
  const Stream library = library_stream(positives.stream().device);
  wait_for(library, positives.stream());
  positives.offset.move_to(library);
  positives.row.move_to(library);
  positives.cls.move_to(library);
}

// Calls collect(list, by_class, counts), which reads all labels. Calls it again if the first list was too short.
template <class Collect>
Positives collect_into_classes(std::int64_t rows, std::int64_t classes, std::int64_t capacity, std::int64_t cols,
                               const Stream& stream, const Collect& collect) {
  Positives positives;
  positives.rows = rows;
  positives.classes = classes;
  positives.offset = DeviceArray<std::int64_t>(stream, classes + 1);
  DeviceArray<unsigned long long> by_class(stream, classes);
  DeviceArray<unsigned long long> next(stream, classes);
  const DeviceArray<LabelCounts> counts(stream, {kNoLabels});
  DeviceArray<Pair> list(stream, capacity);
  by_class.fill(0);
  collect(list, by_class.data(), counts.data());
  launch(stream, "make_offsets", make_offsets, 1, kOffsetThreads, 0, by_class.data(), classes, positives.offset.data(),
         next.data(), counts.data());
  const LabelCounts found = counts.to_host().front();
  if (found.errors.first_bad != kNoIndex) {
    const auto flat_index = static_cast<std::int64_t>(found.errors.first_bad);
    throw BadValue("labels", flat_index / cols, flat_index % cols);
  }
  positives.count = static_cast<std::int64_t>(found.found);
  positives.longest = found.longest;
  if (positives.count > capacity) {
    list = DeviceArray<Pair>(stream, positives.count);
    const DeviceArray<LabelCounts> again(stream, {kNoLabels});
    collect(list, nullptr, again.data());
    synchronize(stream);  // the caller may free the labels after this call
  }
  positives.row = DeviceArray<std::uint32_t>(stream, positives.count);
  positives.cls = DeviceArray<std::uint32_t>(stream, positives.count);
  if (positives.count == 0) {
    move_to_library_stream(positives);
    return positives;
  }
  launch(stream, "spread_by_class", spread_by_class, blocks_for(positives.count, kThreads), kThreads, 0, list.data(),
         positives.count, next.data(), positives.row.data(), positives.cls.data());
  sort_within_segments(positives.row, positives.cls, positives.offset, positives.longest);
  move_to_library_stream(positives);
  return positives;
}

template <class Source>
void collect_from(const Source& source, const Stream& stream, const DeviceArray<Pair>& list,
                  unsigned long long* by_class, LabelCounts* counts) {
  const std::int64_t slots = source.slots();
  if (slots == 0) return;
  launch(stream, "collect_positives", collect_positives<Source>, at_once(stream, blocks_for(slots, kThreads)), kThreads,
         0, source, slots, list.data(), static_cast<unsigned long long>(list.size()), by_class, counts);
}

template <class T>
void collect_shard(const Shard& shard, std::int64_t cols, unsigned marks, const UnknownView& unread,
                   const Stream& stream, const DeviceArray<Pair>& list, unsigned long long* by_class,
                   LabelCounts* counts) {
  constexpr std::int64_t kSize = sizeof(T);
  if (shard.col_stride == kSize && shard.row_stride == cols * kSize) {
    const auto address = reinterpret_cast<std::uintptr_t>(shard.data);
    const std::int64_t elements = shard.rows * cols;
    const std::int64_t to_boundary = static_cast<std::int64_t>((0 - address) % sizeof(uint4)) / kSize;
    collect_from(DenseLabels<T>{shard, cols, std::min(to_boundary, elements), elements, marks, unread}, stream, list,
                 by_class, counts);
    return;
  }
  const bool by_column = shard.is_class_major();
  collect_from(StridedLabels<T>{shard, cols, by_column, marks, unread}, stream, list, by_class, counts);
}

}  // namespace

Positives find_positives(const Matrix& labels, unsigned marks, const UnknownView& unread, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const std::int64_t elements = labels.rows * labels.cols;
  const std::int64_t capacity = std::clamp<std::int64_t>(elements / 64, 1 << 12, 1 << 24);
  return collect_into_classes(labels.rows, labels.cols, capacity, labels.cols, stream,
                              [&](const DeviceArray<Pair>& list, unsigned long long* by_class, LabelCounts* counts) {
                                with_element_type(labels.dtype, [&](auto tag) {
                                  for (const Shard& shard : labels.shards) {
                                    collect_shard<typename decltype(tag)::type>(shard, labels.cols, marks, unread,
                                                                                stream, list, by_class, counts);
                                  }
                                });
                              });
}

Positives index_positives(const Matrix& indices, std::int64_t classes, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  return collect_into_classes(indices.rows, classes, std::max<std::int64_t>(indices.rows, 1), 1, stream,
                              [&](const DeviceArray<Pair>& list, unsigned long long* by_class, LabelCounts* counts) {
                                with_element_type(indices.dtype, [&](auto tag) {
                                  using T = typename decltype(tag)::type;
                                  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
                                    for (const Shard& shard : indices.shards) {
                                      collect_from(ClassIndices<T>{shard, classes}, stream, list, by_class, counts);
                                    }
                                  } else {
                                    throw std::invalid_argument("indices: expected integers");
                                  }
                                });
                              });
}

Positives upload_positives(OffsetSpan offset, Span<const std::uint32_t> row, std::int64_t rows, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Positives positives;
  positives.rows = rows;
  positives.classes = offset.lists();
  positives.count = row.count();
  for (std::int64_t c = 0; c < offset.lists(); ++c) {
    positives.longest = std::max(positives.longest, offset.length(c));
  }
  positives.offset = DeviceArray<std::int64_t>(stream, offset);
  positives.row = DeviceArray<std::uint32_t>(stream, row);
  positives.cls = DeviceArray<std::uint32_t>(stream, positives.count);
  if (positives.count == 0) return positives;
  launch(stream, "class_of_each", class_of_each, blocks_for(positives.count, kThreads), kThreads, 0,
         positives.offset.data(), positives.classes, positives.count, positives.cls.data());
  return positives;
}

}  // namespace vltr::cuda
