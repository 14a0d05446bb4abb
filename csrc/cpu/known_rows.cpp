#include "cpu/known_rows.hpp"

#include <algorithm>
#include <cstring>

namespace vltr::cpu {
namespace {

// Sets the first `rows` bits of a mask, and clears the others.
void set_all(std::int64_t rows, RowMask& mask) {
  const std::int64_t whole = rows / 16;
  std::fill(mask.block, mask.block + whole, std::uint16_t{0xFFFF});
  if (whole == kTileBlocks) return;
  mask.block[whole] = static_cast<std::uint16_t>((1u << (rows % 16)) - 1u);
  std::fill(mask.block + whole + 1, mask.block + kTileBlocks, std::uint16_t{0});
}

// Clears the bits of unknown rows. Returns true if there are any.
bool clear_listed(const UnknownCells& unknown, std::int64_t c, std::int64_t first_row, std::int64_t rows,
                  RowMask& mask) {
  const std::uint32_t* const begin = unknown.listed.data() + unknown.offset.first(c);
  const std::uint32_t* const end = begin + unknown.offset.length(c);
  const std::uint32_t* const first = std::lower_bound(begin, end, static_cast<std::uint32_t>(first_row));
  const std::uint32_t* row = first;
  for (; row != end && *row < first_row + rows; ++row) {
    const std::int64_t i = *row - first_row;
    mask.block[i / 16] = static_cast<std::uint16_t>(mask.block[i / 16] & ~(1u << (i % 16)));
  }
  return row != first;
}

// As above. A tile may begin within a word, after a shard whose rows are no multiple of 64.
bool clear_bits(const UnknownCells& unknown, std::int64_t c, std::int64_t first_row, std::int64_t rows, RowMask& mask) {
  const std::uint64_t* const of_class = unknown.bits_of(c);
  const int shift = static_cast<int>(first_row % 64);
  std::uint64_t any = 0;
  for (std::int64_t i = 0; i < rows; i += 64) {
    const std::int64_t word = (first_row + i) / 64;
    std::uint64_t bits = of_class[word] >> shift;
    if (shift != 0 && word + 1 < unknown.words) bits |= of_class[word + 1] << (64 - shift);
    if (rows - i < 64) bits &= (std::uint64_t{1} << (rows - i)) - 1;
    any |= bits;
    for (std::int64_t k = 0; k < 4; ++k) {  // blocks of 16 rows, in the order of memory on any machine
      std::uint16_t& block = mask.block[i / 16 + k];
      block = static_cast<std::uint16_t>(block & ~(bits >> (16 * k)));
    }
  }
  return any != 0;
}

}  // namespace

bool KnownRows::fill(std::int64_t first_row, std::int64_t rows, std::int64_t first_col, std::int64_t end_col,
                     Array<RowMask>& scratch) const {
  if (scratch.count() < end_col - first_col) scratch.resize(end_col - first_col);
  bool any = false;
  for (std::int64_t c = first_col; c < end_col; ++c) {
    RowMask& mask = scratch[c - first_col];
    set_all(rows, mask);
    if (unknown_->count[c] == 0) continue;
    any |= unknown_->bits == nullptr ? clear_listed(*unknown_, c, first_row, rows, mask)
                                     : clear_bits(*unknown_, c, first_row, rows, mask);
  }
  return any;
}

Span<const std::uint32_t> unknown_rows(const UnknownCells* unknown, std::int64_t c, Array<std::uint32_t>& scratch) {
  if (unknown_count(unknown, c) == 0) return {nullptr, 0};
  if (unknown->bits == nullptr) return {unknown->listed.data() + unknown->offset.first(c), unknown->offset.length(c)};
  scratch.resize(unknown->count[c]);
  std::uint32_t* next = scratch.data();
  const std::uint64_t* const of_class = unknown->bits_of(c);
  for (std::int64_t word = 0; word < unknown->words; ++word) {
    for (std::uint64_t left = of_class[word]; left != 0; left &= left - 1) {
      *next++ = static_cast<std::uint32_t>(64 * word + __builtin_ctzll(left));
    }
  }
  return {scratch.data(), scratch.count()};
}

Span<const std::uint32_t> excluded_rows(const Positives& positives, const UnknownCells* unknown, std::int64_t c,
                                        Array<std::uint32_t>& scratch) {
  const Span<const std::uint32_t> known = positives.rows_of(c);
  const std::int64_t count = unknown_count(unknown, c);
  if (count == 0) return known;
  scratch.resize(known.size() + count);
  if (unknown->bits == nullptr) {
    Array<std::uint32_t> unused;
    const Span<const std::uint32_t> listed = unknown_rows(unknown, c, unused);
    std::merge(known.begin(), known.end(), listed.begin(), listed.end(), scratch.begin());
    return {scratch.data(), scratch.count()};
  }
  const std::uint64_t* const of_class = unknown->bits_of(c);
  const std::uint32_t* positive = known.begin();
  std::uint32_t* next = scratch.data();
  for (std::int64_t word = 0; word < unknown->words; ++word) {
    std::uint64_t left = of_class[word];
    for (; positive != known.end() && *positive < 64 * (word + 1); ++positive) {
      left |= std::uint64_t{1} << (*positive % 64);
    }
    for (; left != 0; left &= left - 1) *next++ = static_cast<std::uint32_t>(64 * word + __builtin_ctzll(left));
  }
  return {scratch.data(), next - scratch.data()};
}

}  // namespace vltr::cpu
