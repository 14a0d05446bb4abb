// Labels are read once, 64 elements at a time, and leave a mask of their ones if they have any. The masks of a tile of
// rows are counted by class, and a prefix sum over the tiles gives each tile the places of its rows in every class.
// Then the masks are written out as rows. Each step works on tiles, so that one class keeps all threads busy.
//
// A mask over 64 rows of one class is written out in a row, without a counter for each one. So tiles with many ones
// are transposed to such masks.
#include "cpu/positives.hpp"

#include <optional>

#include "cpu/label_cells.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace vltr::cpu {
namespace {

constexpr std::int64_t kGroup = 64;  // elements, one bit each

// Labels as words of their bits: one compare tells a 1, another a 0 of either sign, whatever the element type is.
template <std::size_t kSize>
using WordOf = std::conditional_t<
    kSize == 1, std::uint8_t,
    std::conditional_t<kSize == 2, std::uint16_t, std::conditional_t<kSize == 4, std::uint32_t, std::uint64_t>>>;

template <class T>
struct LabelBits {
  using Word = WordOf<sizeof(T)>;
  static constexpr bool kIsFloat = !std::is_integral_v<T>;
  static constexpr Word kOne = static_cast<Word>(std::is_same_v<T, Float16>    ? 0x3C00u
                                                 : std::is_same_v<T, BFloat16> ? 0x3F80u
                                                 : std::is_same_v<T, float>    ? 0x3F800000u
                                                 : std::is_same_v<T, double>   ? 0x3FF0000000000000u
                                                                               : 1u);
  static constexpr Word kInfinity = static_cast<Word>(std::is_same_v<T, Float16>    ? 0x7C00u
                                                      : std::is_same_v<T, BFloat16> ? 0x7F80u
                                                      : std::is_same_v<T, float>    ? 0x7F800000u
                                                                                    : 0x7FF0000000000000u);
  // -1. An unsigned integer has none, and 1 is never unknown.
  static constexpr bool kIsSigned = kIsFloat || std::is_signed_v<T>;
  static constexpr Word kMinusOne = static_cast<Word>(
      kIsFloat ? kOne | static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1)) : static_cast<Word>(~Word{0}));
  // The bits that no zero has: all but the sign of a float.
  static constexpr Word kZeros = static_cast<Word>(static_cast<Word>(~Word{0}) >> (kIsFloat ? 1 : 0));
};

int count_ones(std::uint64_t mask) {
  mask -= mask >> 1 & 0x5555555555555555u;
  mask = (mask & 0x3333333333333333u) + (mask >> 2 & 0x3333333333333333u);
  mask = (mask + (mask >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return static_cast<int>(mask * 0x0101010101010101u >> 56);
}

// Bit i is byte i, which is 0 or 1.
std::uint64_t pack_bits(const std::uint8_t* bytes) {
  std::uint64_t mask = 0;
#if defined(__SSE2__)
  for (int i = 0; i < 4; ++i) {
    const __m128i part = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes + 16 * i));
    mask |= std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_slli_epi16(part, 7)))} << 16 * i;
  }
#else
  for (int i = 0; i < 8; ++i) {
    std::uint64_t part = 0;
    for (int k = 0; k < 8; ++k) part |= std::uint64_t{bytes[8 * i + k]} << k;
    mask |= part << 8 * i;
  }
#endif
  return mask;
}

// The elements that are unknown: none, those of a value, or the zeros of a mask of known cells.
enum class Unknown { kNone, kMinusOne, kNaN, kZero };

template <class T>
bool is_unknown(typename LabelBits<T>::Word word, Unknown unknown) {
  using Bits = LabelBits<T>;
  switch (unknown) {
    case Unknown::kMinusOne:
      return Bits::kIsSigned && word == Bits::kMinusOne;
    case Unknown::kNaN:
      return Bits::kIsFloat && static_cast<typename Bits::Word>(word & Bits::kZeros) > Bits::kInfinity;
    case Unknown::kZero:
      return static_cast<typename Bits::Word>(word & Bits::kZeros) == 0;
    default:
      return false;
  }
}

struct GroupBits {
  std::uint64_t ones;
  std::uint64_t unknown;
  bool bad;  // an element is neither 0 nor 1 nor unknown
};

// As read_group(), with unknown elements. The ones of a mask are not needed.
template <class T, Unknown kUnknown>
GroupBits read_group_with(const std::byte* data) {
  using Bits = LabelBits<T>;
  using Word = typename Bits::Word;
  alignas(16) std::uint8_t one[kGroup];
  alignas(16) std::uint8_t unknown[kGroup];
  Word odd = 0;
  for (std::int64_t i = 0; i < kGroup; ++i) {
    const Word word = load_element<Word>(data + i * static_cast<std::int64_t>(sizeof(Word)));
    const bool is_one = std::is_same_v<T, bool> ? word != 0 : word == Bits::kOne;
    const bool left_out = is_unknown<T>(word, kUnknown);
    one[i] = is_one;
    unknown[i] = left_out;
    odd = static_cast<Word>(odd | (is_one || left_out ? Word{0} : static_cast<Word>(word & Bits::kZeros)));
  }
  return {kUnknown == Unknown::kZero ? 0 : pack_bits(one), pack_bits(unknown), odd != 0};
}

// 64 neighbours in memory.
template <class T>
GroupBits read_group(const std::byte* data) {
  using Bits = LabelBits<T>;
  using Word = typename Bits::Word;
  alignas(16) std::uint8_t one[kGroup];
  Word odd = 0;
  for (std::int64_t i = 0; i < kGroup; ++i) {
    const Word word = load_element<Word>(data + i * static_cast<std::int64_t>(sizeof(Word)));
    if constexpr (std::is_same_v<T, bool>) {
      one[i] = word != 0;
    } else {
      const bool is_one = word == Bits::kOne;
      one[i] = is_one;
      odd = static_cast<Word>(odd | (is_one ? Word{0} : static_cast<Word>(word & Bits::kZeros)));
    }
  }
  return {pack_bits(one), 0, odd != 0};
}

template <class T>
GroupBits read_group(const std::byte* data, Unknown unknown) {
  switch (unknown) {
    case Unknown::kMinusOne:
      return read_group_with<T, Unknown::kMinusOne>(data);
    case Unknown::kNaN:
      return read_group_with<T, Unknown::kNaN>(data);
    case Unknown::kZero:
      return read_group_with<T, Unknown::kZero>(data);
    default:
      return read_group<T>(data);
  }
}

bool is_zero(const std::byte* data, std::int64_t bytes) {
  std::uint64_t any = 0;
  for (std::int64_t i = 0; i < bytes; i += 8) any |= load_element<std::uint64_t>(data + i);
  return any == 0;
}

// A group of elements with ones.
struct Group {
  std::uint64_t ones;
  std::int64_t number;
};

// The order in which the elements of a tile are grouped: lines of elements that are `stride` apart, each starting a new
// group. Groups are numbered line by line.
//   by class: a line is a class of the tile, for labels whose neighbours in a column are closer, or of one class;
//   by row: a line is a row; if rows follow each other without a gap, all of them are one line.
struct Lines {
  bool by_class;
  std::int64_t count;
  std::int64_t length;
  std::int64_t stride;
  std::int64_t line_stride;
  std::int64_t groups;  // of a line
  std::int64_t period;  // by row: the places of elements, in the numbering by groups, from a row to the next

  Lines(const Tile& tile, std::int64_t cols, std::int64_t size) {
    const Shard& shard = *tile.shard;
    by_class = cols == 1 || shard.is_class_major();
    if (by_class) {
      *this = Lines(true, cols, tile.rows, shard.row_stride, shard.col_stride, 0);
    } else if (shard.col_stride == size && (shard.row_stride == cols * size || tile.rows == 1)) {
      *this = Lines(false, 1, tile.rows * cols, size, 0, cols);
    } else {
      *this = Lines(false, tile.rows, cols, shard.col_stride, shard.row_stride, (cols + kGroup - 1) / kGroup * kGroup);
    }
  }

 private:
  Lines(bool is_by_class, std::int64_t lines, std::int64_t elements, std::int64_t element_stride,
        std::int64_t stride_of_lines, std::int64_t row_period)
      : by_class(is_by_class),
        count(lines),
        length(elements),
        stride(element_stride),
        line_stride(stride_of_lines),
        groups((elements + kGroup - 1) / kGroup),
        period(row_period) {}
};

struct Cell {
  std::int64_t row;
  std::int64_t col;
};

// The groups of a tile that have ones, ascending. By class, a class has `groups_per_class` numbers, and bit i of group
// g of the class is row 64 g + i of the tile. By row, bit i of group g is the place 64 g + i, and rows are `period`
// places apart.
struct TilePositives {
  bool by_class = true;
  std::int64_t groups_per_class = 0;
  std::int64_t period = 0;
  Array<Group> groups;
  std::int64_t ones = 0;
  std::optional<Cell> bad;  // the first bad element in row order; its row is that within the tile
};

template <class T>
class TileReader {
 public:
  TileReader(const Tile& tile, const Lines& lines, Unknown unknown, LargeArray<Group>& scratch)
      : data_(tile.shard->at(tile.first_row, 0)), lines_(lines), unknown_(unknown), scratch_(scratch) {}

  // unknown: becomes the groups with unknown elements; null if no element is unknown.
  TilePositives read(TilePositives* unknown) {
    out_.by_class = lines_.by_class;
    out_.groups_per_class = lines_.by_class ? lines_.groups : 0;
    out_.period = lines_.period;
    if (unknown != nullptr) {
      *unknown = out_;
      unknown_groups_ = &unknown->groups;
    }
    for (std::int64_t line = 0; line < lines_.count; ++line) {
      const std::byte* const data = data_ + line * lines_.line_stride;
      reserve(lines_.groups);
      const std::int64_t before = found_;
      const bool good = lines_.stride == kSize ? read_line(data, line) : read_strided_line(data, line);
      for (std::int64_t i = before; i < found_; ++i) out_.ones += count_ones(scratch_.data()[i].ones);
      if (!good && !lines_.by_class) break;  // by class, an earlier row of a later class may be bad too
    }
    if (unknown != nullptr) {
      for (const Group& group : unknown->groups) unknown->ones += count_ones(group.ones);
    }
    out_.groups.assign(scratch_.data(), scratch_.data() + found_);
    return std::move(out_);
  }

 private:
  static constexpr std::int64_t kSize = sizeof(T);
  static constexpr std::int64_t kGroupBytes = kGroup * kSize;
  // Labels are nearly all zero. Blocks of zero bytes are skipped.
  static constexpr std::int64_t kBlock = std::max<std::int64_t>(1, 256 / kGroupBytes);  // groups

  bool read_line(const std::byte* data, std::int64_t line) {
    const std::int64_t whole = lines_.length / kGroup;
    const std::int64_t first = line * lines_.groups;
    std::int64_t group = 0;
    while (group < whole) {
      const std::int64_t end = std::min(group + kBlock, whole);
      if (unknown_ != Unknown::kZero && end - group == kBlock &&
          is_zero(data + group * kGroupBytes, kBlock * kGroupBytes)) {
        group = end;
        continue;
      }
      for (; group < end; ++group) {
        const std::byte* const from = data + group * kGroupBytes;
        if (!add(read_group<T>(from, unknown_), from, first + group)) return false;
      }
    }
    return whole * kGroup == lines_.length || gather(data, first, whole);
  }

  bool read_strided_line(const std::byte* data, std::int64_t line) {
    for (std::int64_t group = 0; group < lines_.groups; ++group) {
      if (!gather(data, line * lines_.groups, group)) return false;
    }
    return true;
  }

  // Reads a group that is not 64 neighbours: the end of a line, or elements with gaps.
  bool gather(const std::byte* data, std::int64_t first, std::int64_t group) {
    using Word = typename LabelBits<T>::Word;
    alignas(64) Word words[kGroup] = {};
    const std::byte* from = data + group * kGroup * lines_.stride;
    const std::int64_t count = std::min(kGroup, lines_.length - group * kGroup);
    for (std::int64_t i = 0; i < count; ++i) words[i] = load_element<Word>(from + i * lines_.stride);
    const auto* const gathered = reinterpret_cast<const std::byte*>(words);
    GroupBits bits = read_group<T>(gathered, unknown_);
    bits.unknown &= ~std::uint64_t{0} >> (kGroup - count);
    return add(bits, gathered, first + group);
  }

  bool add(const GroupBits& bits, const std::byte* data, std::int64_t number) {
    scratch_.data()[found_] = {bits.ones, number};
    found_ += bits.ones != 0;
    if (bits.unknown != 0) unknown_groups_->push_back({bits.unknown, number});
    if (bits.bad) note_bad(data, number);
    return !bits.bad;
  }

  void note_bad(const std::byte* data, std::int64_t number) {
    std::int64_t i = 0;
    const auto is_good = [&](const std::byte* element) {
      return label_of(load_element<T>(element)) != kBadLabel ||
             is_unknown<T>(load_element<typename LabelBits<T>::Word>(element), unknown_);
    };
    while (is_good(data + i * kSize)) ++i;
    const std::int64_t element = number % lines_.groups * kGroup + i;
    const std::int64_t place = number * kGroup + i;
    const Cell cell =
        lines_.by_class ? Cell{element, number / lines_.groups} : Cell{place / lines_.period, place % lines_.period};
    if (!out_.bad || cell.row < out_.bad->row) out_.bad = cell;
  }

  void reserve(std::int64_t more) {
    if (found_ + more <= scratch_.count()) return;
    LargeArray<Group> larger;
    larger.resize(std::max(found_ + more, 2 * scratch_.count()));
    std::copy(scratch_.data(), scratch_.data() + found_, larger.data());
    scratch_ = std::move(larger);
  }

  const std::byte* data_;
  const Lines& lines_;
  const Unknown unknown_;
  Array<Group>* unknown_groups_ = nullptr;
  LargeArray<Group>& scratch_;
  std::int64_t found_ = 0;
  TilePositives out_;
};

// Bit i of word k becomes bit k of word i.
void transpose(std::uint64_t* words) {
  const auto swap = [words](auto width, std::uint64_t low) {
    constexpr std::int64_t kWidth = decltype(width)::value;
    for (std::int64_t first = 0; first < kGroup; first += 2 * kWidth) {
      for (std::int64_t k = first; k < first + kWidth; ++k) {
        const std::uint64_t differ = ((words[k] >> kWidth) ^ words[k + kWidth]) & low;
        words[k] ^= differ << kWidth;
        words[k + kWidth] ^= differ;
      }
    }
  };
  swap(std::integral_constant<int, 32>{}, 0x00000000FFFFFFFFu);
  swap(std::integral_constant<int, 16>{}, 0x0000FFFF0000FFFFu);
  swap(std::integral_constant<int, 8>{}, 0x00FF00FF00FF00FFu);
  swap(std::integral_constant<int, 4>{}, 0x0F0F0F0F0F0F0F0Fu);
  swap(std::integral_constant<int, 2>{}, 0x3333333333333333u);
  swap(std::integral_constant<int, 1>{}, 0x5555555555555555u);
}

// Groups by row become groups by class, at a fixed cost for each element of the tile. Blocks of 64 rows and up to 64
// classes are transposed; if the classes are few, the blocks of several rows side by side.
void group_by_class(TilePositives& tile, std::int64_t rows, std::int64_t cols) {
  const std::int64_t words = (rows * tile.period + kGroup - 1) / kGroup + 1;
  Array<std::uint64_t> bits(words + 1);
  for (const Group& group : tile.groups) bits[group.number] = group.ones;
  const std::int64_t row_groups = (rows + kGroup - 1) / kGroup;
  Array<std::uint64_t> of_class(cols * row_groups);
  const std::int64_t width = std::min(kGroup, cols);
  const std::int64_t beside = kGroup / width;  // groups of rows in a block
  for (std::int64_t first_group = 0; first_group < row_groups; first_group += beside) {
    for (std::int64_t first_col = 0; first_col < cols; first_col += width) {
      const std::int64_t block_cols = std::min(width, cols - first_col);
      const std::uint64_t kept = ~std::uint64_t{0} >> (kGroup - block_cols);
      const std::int64_t block_groups = std::min(beside, row_groups - first_group);
      std::uint64_t block[kGroup] = {};
      for (std::int64_t g = 0; g < block_groups; ++g) {
        const std::int64_t first_row = (first_group + g) * kGroup;
        const std::int64_t count = std::min(kGroup, rows - first_row);
        std::int64_t place = first_row * tile.period + first_col;
        for (std::int64_t i = 0; i < count; ++i, place += tile.period) {
          const std::uint64_t* const word = bits.data() + place / kGroup;
          const std::int64_t shift = place % kGroup;
          const std::uint64_t ones = word[0] >> shift | word[1] << 1 << (kGroup - 1 - shift);
          block[i] |= (ones & kept) << g * width;
        }
      }
      transpose(block);
      for (std::int64_t g = 0; g < block_groups; ++g) {
        for (std::int64_t c = 0; c < block_cols; ++c) {
          of_class[(first_col + c) * row_groups + first_group + g] = block[g * width + c];
        }
      }
    }
  }
  tile.by_class = true;
  tile.groups_per_class = row_groups;
  tile.groups.clear();
  for (std::int64_t number = 0; number < of_class.count(); ++number) {
    if (of_class[number] != 0) tile.groups.push_back({of_class[number], number});
  }
}

// Calls part(row, col, ones) for groups by row: bit i of `ones` is the element at column col + i, and `row` is a row
// within the tile. A group that reaches into the next rows has several parts.
template <class Part>
void for_each_row_part(const TilePositives& tile, const Part& part) {
  std::int64_t row = 0;
  std::int64_t begin = 0;  // the place of the row's first element
  for (const Group& group : tile.groups) {
    const std::int64_t place = group.number * kGroup;
    if (place >= begin + 2 * tile.period) {
      row = place / tile.period;
      begin = row * tile.period;
    } else if (place >= begin + tile.period) {
      ++row;
      begin += tile.period;
    }
    std::int64_t col = place - begin;
    std::uint64_t ones = group.ones;
    std::int64_t line = row;
    for (std::int64_t left; (left = tile.period - col) < kGroup && ones != 0; ones >>= left, col = 0) {
      part(line++, col, ones & ((std::uint64_t{1} << left) - 1));
    }
    if (ones != 0) part(line, col, ones);
  }
}

// Calls one_class(col, begin, end) for the groups of each class, which are by class.
template <class OneClass>
void for_each_class(const TilePositives& tile, const OneClass& one_class) {
  const Group* const end = tile.groups.data() + tile.groups.count();
  for (const Group* group = tile.groups.data(); group != end;) {
    const std::int64_t col = group->number / tile.groups_per_class;
    const Group* const begin = group;
    while (group != end && group->number < (col + 1) * tile.groups_per_class) ++group;
    one_class(col, begin, group);
  }
}

template <class Function>
void for_each_bit(std::uint64_t mask, const Function& function) {
  for (; mask != 0; mask &= mask - 1) function(__builtin_ctzll(mask));
}

std::int64_t count_groups(const Group* begin, const Group* end) {
  std::int64_t ones = 0;
  for (const Group* group = begin; group != end; ++group) ones += count_ones(group->ones);
  return ones;
}

void count_tile(const TilePositives& tile, std::int64_t* count) {
  if (tile.by_class) {
    for_each_class(tile, [count](std::int64_t col, const Group* begin, const Group* end) {
      count[col] += count_groups(begin, end);
    });
  } else {
    for_each_row_part(tile, [count](std::int64_t, std::int64_t col, std::uint64_t ones) {
      for_each_bit(ones, [&](int i) { ++count[col + i]; });
    });
  }
}

// Writes the rows of the groups of a class, the first of which has the row `base`, to [out, end).
void write_class(const Group* group, std::int64_t first_number, std::uint32_t base, std::uint32_t* out,
                 const std::uint32_t* end) {
  while (out != end) {
    std::uint64_t ones = group->ones;
    const std::uint32_t row = base + static_cast<std::uint32_t>((group->number - first_number) * kGroup);
    const int count = count_ones(ones);
    // The number of ones is hard to predict. In steps of several there are fewer branches; later groups overwrite the
    // excess.
    constexpr int kStep = 8;
    if ((count + kStep - 1) / kStep * kStep <= end - out) {
      for (int done = 0; done < count; done += kStep) {
        for (int k = 0; k < kStep; ++k) {
          out[done + k] = row + static_cast<std::uint32_t>(__builtin_ctzll(ones | std::uint64_t{1} << 63));
          ones &= ones - 1;
        }
      }
    } else {
      std::uint32_t* next = out;
      for_each_bit(ones, [&](int i) { *next++ = row + static_cast<std::uint32_t>(i); });
    }
    out += count;
    ++group;
  }
}

// Writes the rows of a tile. next: the places of each class, moved on.
void write_tile(const TilePositives& tile, std::uint32_t first_row, std::int64_t* next, std::uint32_t* rows) {
  if (tile.by_class) {
    for_each_class(tile, [&](std::int64_t col, const Group* begin, const Group* end) {
      const std::int64_t count = count_groups(begin, end);
      write_class(begin, col * tile.groups_per_class, first_row, rows + next[col], rows + next[col] + count);
      next[col] += count;
    });
  } else {
    for_each_row_part(tile, [&](std::int64_t row, std::int64_t col, std::uint64_t ones) {
      const auto number = static_cast<std::uint32_t>(first_row + row);
      for_each_bit(ones, [&](int i) { rows[next[col + i]++] = number; });
    });
  }
}

// Ranges of consecutive tiles, each with so many ones that a counter for each class takes no more memory than they do.
Array<std::int64_t> tile_ranges(const Array<TilePositives>& found, std::int64_t cols) {
  const std::int64_t least = std::max<std::int64_t>(2 * cols, 1 << 12);
  Array<std::int64_t> first{0};
  std::int64_t ones = 0;
  for (std::int64_t i = 0; i < found.count(); ++i) {
    ones += found[i].ones;
    if (ones < least && i + 1 < found.count()) continue;
    first.push_back(i + 1);
    ones = 0;
  }
  return first;
}

// The tiles of labels, and their groups with ones and with unknown elements.
struct FoundTiles {
  Array<Tile> tiles;
  Array<TilePositives> ones;
  Array<TilePositives> unknown;
};

// name: of the matrix, for errors.
FoundTiles find_tiles(const Matrix& labels, Unknown unknown, const char* name, const Runner& runner) {
  const std::int64_t size =
      with_element_type(labels.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); });
  const std::int64_t tile_rows =
      std::clamp<std::int64_t>((std::int64_t{1} << 20) / std::max<std::int64_t>(1, labels.cols * size), 16, 1 << 16);
  FoundTiles found;
  found.tiles = row_tiles(labels, tile_rows);
  const Array<Tile>& tiles = found.tiles;
  found.ones.resize(tiles.count());
  if (unknown != Unknown::kNone) found.unknown.resize(tiles.count());
  Array<LargeArray<Group>> scratch(std::max(runner.threads, 1));
  runner.run(tiles.count(), [&](std::int64_t i, int worker) {
    const Lines lines(tiles[i], labels.cols, size);
    TilePositives* const left_out = unknown == Unknown::kNone ? nullptr : &found.unknown[i];
    with_element_type(labels.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      found.ones[i] = TileReader<T>(tiles[i], lines, unknown, scratch[worker]).read(left_out);
    });
    constexpr std::int64_t kMany = 16;  // elements for each one: transposing then takes as long as counters
    const std::int64_t elements = tiles[i].rows * labels.cols;
    for (TilePositives* part : {&found.ones[i], left_out}) {
      if (part != nullptr && !part->by_class && tiles[i].rows >= kGroup && part->ones * kMany >= elements) {
        group_by_class(*part, tiles[i].rows, labels.cols);
      }
    }
  });
  for (std::int64_t i = 0; i < tiles.count(); ++i) {
    const std::optional<Cell>& bad = found.ones[i].bad;
    if (bad) throw BadValue(name, tiles[i].first_row + bad->row, bad->col);
  }
  return found;
}

struct RowLists {
  Offsets offset;
  LargeArray<std::uint32_t> rows;
};

// The rows of each class, from the groups of all tiles.
RowLists list_rows(const Array<Tile>& tiles, const Array<TilePositives>& found, std::int64_t cols,
                   const Runner& runner) {
  const Array<std::int64_t> first = tile_ranges(found, cols);
  const std::int64_t ranges = first.count() - 1;
  Array<Array<std::int64_t>> next(ranges);
  runner.share(0.0, 0.5).run(ranges, [&](std::int64_t range, int) {
    next[range].assign(cols, 0);
    for (std::int64_t i = first[range]; i < first[range + 1]; ++i) {
      count_tile(found[i], next[range].data());
    }
  });

  RowLists lists;
  Offsets& offset = lists.offset;
  offset.assign(cols + 1, 0);
  for (const Array<std::int64_t>& count : next) {
    for (std::int64_t c = 0; c < cols; ++c) offset[c + 1] += count[c];
  }
  for (std::int64_t c = 0; c < cols; ++c) offset[c + 1] += offset[c];
  Array<std::int64_t> place(offset.begin(), offset.end() - 1);
  for (Array<std::int64_t>& count : next) {
    for (std::int64_t c = 0; c < cols; ++c) count[c] = std::exchange(place[c], place[c] + count[c]);
  }

  lists.rows.resize(offset.back());
  runner.share(0.5, 1.0).run(ranges, [&](std::int64_t range, int) {
    for (std::int64_t i = first[range]; i < first[range + 1]; ++i) {
      write_tile(found[i], static_cast<std::uint32_t>(tiles[i].first_row), next[range].data(), lists.rows.data());
    }
  });
  return lists;
}

// Sets bits of a word that the rows of two tiles may share.
void set_bits(std::uint64_t* word, std::uint64_t bits) {
  if (bits != 0) __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
}

// Sets the bits of a tile in the words of each class.
void write_bits(const TilePositives& tile, std::int64_t first_row, std::int64_t words, std::uint64_t* bits) {
  if (!tile.by_class) {
    for_each_row_part(tile, [&](std::int64_t row, std::int64_t col, std::uint64_t ones) {
      const std::int64_t number = first_row + row;
      for_each_bit(ones,
                   [&](int i) { set_bits(bits + (col + i) * words + number / 64, std::uint64_t{1} << (number % 64)); });
    });
    return;
  }
  for_each_class(tile, [&](std::int64_t col, const Group* begin, const Group* end) {
    std::uint64_t* const of_class = bits + col * words;
    for (const Group* group = begin; group != end; ++group) {
      const std::int64_t row = first_row + (group->number - col * tile.groups_per_class) * kGroup;
      const int shift = static_cast<int>(row % 64);
      set_bits(of_class + row / 64, group->ones << shift);
      if (shift != 0) {
        const std::uint64_t high = group->ones >> (64 - shift);
        if (high != 0) set_bits(of_class + row / 64 + 1, high);
      }
    }
  });
}

// The unknown cells, in the form that takes less memory.
OwnedUnknown to_unknown(const Array<Tile>& tiles, const Array<TilePositives>& found, std::int64_t rows,
                        std::int64_t cols, const Runner& runner) {
  OwnedUnknown unknown;
  std::int64_t cells = 0;
  for (const TilePositives& tile : found) cells += tile.ones;
  const std::int64_t words = (rows + 63) / 64;
  if (4 * cells <= 8 * words * cols) {
    RowLists lists = list_rows(tiles, found, cols, runner);
    unknown.offset = std::move(lists.offset);
    unknown.rows = std::move(lists.rows);
    return unknown;
  }
  unknown.bits.resize(words * cols);
  std::fill(unknown.bits.data(), unknown.bits.data() + words * cols, std::uint64_t{0});
  runner.run(tiles.count(),
             [&](std::int64_t i, int) { write_bits(found[i], tiles[i].first_row, words, unknown.bits.data()); });
  return unknown;
}

double reading_cost(const Matrix& labels) {
  const std::size_t size =
      with_element_type(labels.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); });
  return 0.1 * static_cast<double>(labels.rows) * static_cast<double>(labels.cols) * static_cast<double>(size);
}

}  // namespace

OwnedPositives find_positives(const Matrix& labels, const Runner& runner) {
  const double cost = reading_cost(labels);
  const Phases phases(runner, {cost, cost});
  const FoundTiles found = find_tiles(labels, Unknown::kNone, "labels", phases.phase(0));
  RowLists lists = list_rows(found.tiles, found.ones, labels.cols, phases.phase(1));
  return {std::move(lists.offset), std::move(lists.rows)};
}

LabelCells find_label_cells(const Matrix& labels, UnknownValue value, const Runner& runner) {
  const Unknown unknown = value == UnknownValue::kNaN ? Unknown::kNaN : Unknown::kMinusOne;
  const double cost = reading_cost(labels);
  const Phases phases(runner, {cost, cost, cost});
  const FoundTiles found = find_tiles(labels, unknown, "labels", phases.phase(0));
  RowLists lists = list_rows(found.tiles, found.ones, labels.cols, phases.phase(1));
  return {OwnedPositives(std::move(lists.offset), std::move(lists.rows)),
          to_unknown(found.tiles, found.unknown, labels.rows, labels.cols, phases.phase(2))};
}

OwnedUnknown find_unknown(const Matrix& known, const Runner& runner) {
  const double cost = reading_cost(known);
  const Phases phases(runner, {cost, cost});
  const FoundTiles found = find_tiles(known, Unknown::kZero, "mask", phases.phase(0));
  return to_unknown(found.tiles, found.unknown, known.rows, known.cols, phases.phase(1));
}

}  // namespace vltr::cpu
