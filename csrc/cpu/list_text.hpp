// Text files of ranked lists: one row a line.
#pragma once

#include "core/large_array.hpp"
#include "core/span.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

enum class ListForm : int {
  kPairs = 0,   // ID,CLASS SCORE CLASS SCORE ...
  kRanks = 1,   // ID,CLASS CLASS ..., the best first
  kSparse = 2,  // CLASS:SCORE CLASS:SCORE ..., without ids; an empty line is an empty row
};

enum class ListTextError : int {
  kNone = 0,
  kNoComma = 1,  // no comma, or another one behind the list
  kNoId = 2,
  kClass = 3,    // no class index
  kScore = 4,    // no number
  kNoScore = 5,  // a class without a score
  kQuote = 6,    // a quotation mark without its partner
};

struct ListText {
  LargeArray<std::int64_t> id_first;  // bytes of the ids, from the start of the text
  LargeArray<std::int32_t> id_length;
  LargeArray<std::int64_t> offset;  // (N + 1)
  LargeArray<std::int32_t> classes;
  LargeArray<double> scores;  // none for ranks

  ListTextError error = ListTextError::kNone;
  std::int64_t error_line = 0;   // from 0
  std::int64_t error_first = 0;  // bytes of the wrong part
  std::int64_t error_length = 0;
};

// Reads lines; those of pairs and ranks that are empty are skipped. The first wrong line is reported in the result.
ListText read_list_text(Span<const char> text, ListForm form, const Runner& runner);

}  // namespace vltr::cpu
