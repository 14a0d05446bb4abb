#include "cuda/unknown.hpp"

#include "core/label_marks.hpp"
#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr std::int64_t kWordsOfBlock = 1024;  // of each class, for count_bits
static_assert(kRowsOfWord == kWarp, "the lanes of a warp vote on a word");

__global__ void __launch_bounds__(kThreads) set_listed(const std::int64_t* offset, const std::uint32_t* row,
                                                       std::int64_t classes, std::int64_t count, std::uint32_t* bits) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  atomicOr(&bits[row[i] / kRowsOfWord * classes + segment_of(offset, classes, i)], 1u << (row[i] % kRowsOfWord));
}

// From words of 64 rows, class after class. One thread for each word of 32 rows.
__global__ void __launch_bounds__(kThreads)
    split_words(const std::uint64_t* from, std::int64_t classes, std::int64_t words, std::uint32_t* bits) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= words * classes) return;
  const std::int64_t word = i / classes;
  const std::int64_t c = i % classes;
  bits[i] = static_cast<std::uint32_t>(from[c * ((words + 1) / 2) + word / 2] >> (word % 2 * kRowsOfWord));
}

// The other way, one thread for each word of 64 rows.
__global__ void __launch_bounds__(kThreads) join_words(UnknownView from, std::int64_t words, std::uint64_t* to) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= words * from.classes) return;
  const std::int64_t c = i / words;
  const std::int64_t word = i % words * 2;
  const std::uint64_t low = from.bits[word * from.classes + c];
  const std::uint64_t high = word + 1 < from.words ? from.bits[(word + 1) * from.classes + c] : 0;
  to[i] = high << kRowsOfWord | low;
}

// A warp takes 32 rows of 32 classes. It reads them in the order of the addresses: a row of the classes, or a class of
// the rows. The lanes then have the words of the classes. Shards share a word where one begins within it. first_bad:
// the flat index of the first element that is neither 0 nor 1; null for labels, which have been checked.
template <class T>
__global__ void __launch_bounds__(kThreads)
    mark_unknown(Shard shard, std::int64_t cols, unsigned marks, std::int64_t first_word, std::int64_t tiles,
                 std::uint32_t* bits, unsigned long long* first_bad) {
  const auto is_marked = [=](std::int64_t row, std::int64_t col) {
    const T element = load_element<T>(shard.at(row, col));
    if (first_bad != nullptr && label_of(element) == kBadLabel) note_first(first_bad, row, cols, col);
    return (mark_of(element) & marks) != 0;
  };
  const std::int64_t strips = (cols + kWarp - 1) / kWarp;
  const bool by_class = shard.is_class_major();
  for (std::int64_t tile = blockIdx.x * std::int64_t{kWarps} + threadIdx.x / kWarp; tile < tiles;
       tile += gridDim.x * std::int64_t{kWarps}) {
    const std::int64_t word = first_word + tile / strips;
    const std::int64_t first_class = tile % strips * kWarp;
    const int classes = static_cast<int>(cols - first_class < kWarp ? cols - first_class : kWarp);
    const std::int64_t first_row = word * kRowsOfWord;
    const int begin = static_cast<int>(first_row < shard.first_row ? shard.first_row - first_row : 0);
    const std::int64_t rows = shard.first_row + shard.rows - first_row;
    const int end = static_cast<int>(rows < kRowsOfWord ? rows : kRowsOfWord);
    std::uint32_t found = 0;
    if (by_class) {
      const bool has_row = lane_id() >= begin && lane_id() < end;
#pragma unroll 8
      for (int j = 0; j < classes; ++j) {
        const bool marked = has_row && is_marked(first_row + lane_id(), first_class + j);
        const unsigned votes = __ballot_sync(kWholeWarp, marked);
        if (lane_id() == j) found = votes;
      }
    } else if (lane_id() < classes) {
#pragma unroll 8
      for (int i = begin; i < end; ++i) {
        const bool marked = is_marked(first_row + i, first_class + lane_id());
        found |= (marked ? 1u : 0u) << i;
      }
    }
    if (found != 0) atomicOr(&bits[word * cols + first_class + lane_id()], found);
  }
}

// A block adds up to kWordsOfBlock words of 32 classes.
__global__ void __launch_bounds__(kThreads) count_bits(UnknownView unknown, std::int64_t strips, std::int64_t* count) {
  const std::int64_t c = blockIdx.x % strips * kWarp + lane_id();
  const std::int64_t begin = blockIdx.x / strips * kWordsOfBlock;
  const std::int64_t end = begin + kWordsOfBlock < unknown.words ? begin + kWordsOfBlock : unknown.words;
  if (c >= unknown.classes) return;
  int sum = 0;
  for (std::int64_t word = begin + threadIdx.x / kWarp; word < end; word += kWarps) {
    sum += __popc(unknown.bits[word * unknown.classes + c]);
  }
  if (sum != 0) atomicAdd(reinterpret_cast<unsigned long long*>(&count[c]), static_cast<unsigned long long>(sum));
}

__global__ void __launch_bounds__(kThreads)
    find_unknown_positive(const std::uint32_t* row, const std::uint32_t* cls, std::int64_t count, UnknownView unknown,
                          unsigned long long* first) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i < count && unknown.has(row[i], cls[i])) note_first(first, row[i], unknown.classes, cls[i]);
}

// All cells are known at first.
UnknownBits no_cells(std::int64_t rows, std::int64_t classes, const Stream& stream) {
  UnknownBits unknown;
  unknown.rows = rows;
  unknown.classes = classes;
  unknown.bits = DeviceArray<std::uint32_t>(stream, unknown.words() * classes);
  unknown.bits.fill(0);
  return unknown;
}

UnknownBits find_marks(const Matrix& labels, unsigned marks, const UnknownBits* others, unsigned long long* first_bad,
                       const Stream& stream) {
  UnknownBits unknown = no_cells(labels.rows, labels.cols, stream);
  if (others != nullptr) {
    wait_for(stream, others->stream());
    copy_within_device(stream, unknown.bits.data(), others->bits.data(),
                       unknown.bits.size() * static_cast<std::int64_t>(sizeof(std::uint32_t)));
  }
  unknown.device_count = DeviceArray<std::int64_t>(stream, labels.cols);
  unknown.device_count.fill(0);
  const std::int64_t strips = blocks_for(labels.cols, kWarp);
  for (const Shard& shard : labels.shards) {
    if (shard.rows == 0 || strips == 0) continue;
    const std::int64_t first_word = shard.first_row / kRowsOfWord;
    const std::int64_t words = blocks_for(shard.first_row + shard.rows, kRowsOfWord) - first_word;
    with_element_type(labels.dtype, [&](auto tag) {
      launch(stream, "mark_unknown", mark_unknown<typename decltype(tag)::type>,
             at_once(stream, blocks_for(words * strips, kWarps)), kThreads, 0, shard, labels.cols, marks, first_word,
             words * strips, unknown.bits.data(), first_bad);
    });
  }
  if (unknown.bits.size() != 0) {
    launch(stream, "count_bits", count_bits, strips * blocks_for(unknown.words(), kWordsOfBlock), kThreads, 0,
           unknown.view(), strips, unknown.device_count.data());
  }
  unknown.count = unknown.device_count.to_host();
  const Stream library = library_stream(stream.device);  // the caller's stream may be destroyed before the next use
  wait_for(library, stream);
  unknown.bits.move_to(library);
  unknown.device_count.move_to(library);
  return unknown;
}

}  // namespace

UnknownBits upload_unknown(const UnknownCells& cells, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  UnknownBits unknown = no_cells(cells.rows, cells.classes(), stream);
  unknown.count.assign(cells.count.begin(), cells.count.end());
  unknown.device_count = DeviceArray<std::int64_t>(stream, cells.count);
  if (unknown.bits.size() == 0) return unknown;
  if (cells.bits != nullptr) {
    const DeviceArray<std::uint64_t> words(stream,
                                           Span<const std::uint64_t>(cells.bits, cells.words * unknown.classes));
    launch(stream, "split_words", split_words, blocks_for(unknown.bits.size(), kThreads), kThreads, 0, words.data(),
           unknown.classes, unknown.words(), unknown.bits.data());
  } else if (cells.listed.size() != 0) {
    const DeviceArray<std::int64_t> offset(stream, cells.offset);
    const DeviceArray<std::uint32_t> row(stream, cells.listed);
    launch(stream, "set_listed", set_listed, blocks_for(row.size(), kThreads), kThreads, 0, offset.data(), row.data(),
           unknown.classes, row.size(), unknown.bits.data());
  }
  return unknown;
}

UnknownBits find_unknown(const Matrix& labels, unsigned marks, const UnknownBits* others, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  return find_marks(labels, marks, others, nullptr, stream);
}

UnknownBits read_mask(const Matrix& mask, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const DeviceArray<unsigned long long> first_bad(stream, 1);
  first_bad.fill(0xFF);  // kNoIndex
  UnknownBits unknown = find_marks(mask, kZeroMark, nullptr, first_bad.data(), stream);
  const unsigned long long flat_index = first_bad.to_host().front();
  if (flat_index == kNoIndex) return unknown;
  const auto at = static_cast<std::int64_t>(flat_index);
  throw BadValue("mask", at / mask.cols, at % mask.cols);
}

Array<std::uint64_t> to_host(const UnknownBits& unknown) {
  const DeviceGuard guard(unknown.stream().device);
  const std::int64_t words = (unknown.words() + 1) / 2;
  const DeviceArray<std::uint64_t> joined(unknown.stream(), words * unknown.classes);
  if (joined.size() != 0) {
    launch(unknown.stream(), "join_words", join_words, blocks_for(joined.size(), kThreads), kThreads, 0, unknown.view(),
           words, joined.data());
  }
  return joined.to_host();
}

std::int64_t first_unknown_positive(const Positives& positives, const UnknownBits& unknown) {
  const Stream& stream = positives.stream();
  const DeviceGuard guard(stream.device);
  if (positives.count == 0) return -1;
  wait_for(stream, unknown.stream());
  const DeviceArray<unsigned long long> first(stream, 1);
  first.fill(0xFF);  // kNoIndex
  launch(stream, "find_unknown_positive", find_unknown_positive, blocks_for(positives.count, kThreads), kThreads, 0,
         positives.row.data(), positives.cls.data(), positives.count, unknown.view(), first.data());
  return static_cast<std::int64_t>(first.to_host().front());  // kNoIndex is -1
}

}  // namespace vltr::cuda
