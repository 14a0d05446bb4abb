// The positives of a label matrix, class by class.
#pragma once

#include <utility>

#include "core/errors.hpp"
#include "core/span.hpp"
#include "core/large_array.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

struct OwnedPositives;

// The positive rows of each class, ascending, class after class. A view: callers of the core lend their arrays.
struct Positives {
  OffsetSpan offset{nullptr, 0};
  Span<const std::uint32_t> rows{nullptr, 0};

  Positives() = default;
  Positives(OffsetSpan class_offset, Span<const std::uint32_t> class_rows) : offset(class_offset), rows(class_rows) {}
  Positives(const Positives&) = default;
  Positives& operator=(const Positives&) = default;
  Positives(OwnedPositives&&) = delete;  // a view of memory that is about to be freed

  std::int64_t classes() const { return offset.lists(); }
  Span<const std::uint32_t> rows_of(std::int64_t c) const { return {rows.data() + offset.first(c), offset.length(c)}; }
};

// Positives with their memory.
struct OwnedPositives : Positives {
  Offsets offset_memory;
  LargeArray<std::uint32_t> rows_memory;

  OwnedPositives(Offsets offsets, LargeArray<std::uint32_t> list)
      : offset_memory(std::move(offsets)), rows_memory(std::move(list)) {
    offset = {offset_memory.data(), offset_memory.count()};
    rows = {rows_memory.data(), rows_memory.count()};
  }
  OwnedPositives(OwnedPositives&& other) noexcept
      : Positives(other.offset, other.rows),  // a move leaves the elements where they are
        offset_memory(std::move(other.offset_memory)),
        rows_memory(std::move(other.rows_memory)) {}
};

// Reads dense 0/1 labels once. Throws BadValue at the first element that is neither 0 nor 1.
OwnedPositives find_positives(const Matrix& labels, const Runner& runner);

}  // namespace vltr::cpu
