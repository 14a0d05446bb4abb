#include "cpu/list_text.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/number_text.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kBytesPerItem = std::int64_t{1} << 20;

bool read_class(const char* first, const char* last, std::int32_t& value) {
  std::int64_t number = 0;
  if (first == last || last - first > 10) return false;
  for (; first != last; ++first) {
    if (!is_digit(*first)) return false;
    number = number * 10 + (*first - '0');
  }
  if (number >= std::numeric_limits<std::int32_t>::max()) return false;
  value = static_cast<std::int32_t>(number);
  return true;
}

// The rows of one part of the text.
struct Part {
  std::vector<std::int64_t> id_first, lengths;
  std::vector<std::int32_t> id_length, classes;
  std::vector<double> scores;
  std::int64_t lines = 0;
  ListTextError error = ListTextError::kNone;
  const char* error_first = nullptr;
  const char* error_last = nullptr;

  bool fail(ListTextError kind, const char* first, const char* last) {
    error = kind;
    error_first = first;
    error_last = last;
    return false;
  }
};

class LineReader {
 public:
  LineReader(const char* text, ListForm form, Part& part) : text_(text), form_(form), part_(part) {}

  bool read(const char* first, const char* last) {
    if (first != last && last[-1] == '\r') --last;
    if (form_ != ListForm::kSparse) {
      if (first == last) return true;
      if (!read_id(first, last)) return false;
    }
    const std::size_t before = part_.classes.size();
    const bool done = form_ == ListForm::kRanks ? read_ranks(first, last) : read_pairs(first, last);
    part_.lengths.push_back(static_cast<std::int64_t>(part_.classes.size() - before));
    return done;
  }

 private:
  // Moves `first` behind the id and its comma, and takes the quotation marks of the list away.
  bool read_id(const char*& first, const char*& last) {
    const char* id = first;
    const char* end = nullptr;
    if (*first == '"') {
      end = std::find(++id, last, '"');
      if (end == last) return part_.fail(ListTextError::kQuote, first, last);
      first = end + 1;
      if (first == last || *first != ',') return part_.fail(ListTextError::kNoComma, id, last);
    } else {
      first = end = std::find(first, last, ',');
      if (end == last) return part_.fail(ListTextError::kNoComma, id, last);
    }
    ++first;
    if (end == id || end - id > std::numeric_limits<std::int32_t>::max()) {
      return part_.fail(ListTextError::kNoId, id, end);
    }
    part_.id_first.push_back(id - text_);
    part_.id_length.push_back(static_cast<std::int32_t>(end - id));
    if (first != last && *first == '"') {
      if (last - first < 2 || last[-1] != '"') return part_.fail(ListTextError::kQuote, first, last);
      ++first;
      --last;
    }
    return true;
  }

  static const char* skip_blanks(const char* p, const char* last) {
    while (p != last && is_blank(*p)) ++p;
    return p;
  }
  const char* end_of_word(const char* p, const char* last) const {
    while (p != last && !is_blank(*p) && !(form_ == ListForm::kSparse && *p == ':')) ++p;
    return p;
  }

  bool add_class(const char* first, const char* last) {
    std::int32_t cls = 0;
    if (!read_class(first, last, cls)) {
      const bool comma = std::find(first, last, ',') != last;
      return part_.fail(comma ? ListTextError::kNoComma : ListTextError::kClass, first, last);
    }
    part_.classes.push_back(cls);
    return true;
  }

  bool read_ranks(const char* p, const char* last) {
    for (p = skip_blanks(p, last); p != last; p = skip_blanks(p, last)) {
      const char* const end = end_of_word(p, last);
      if (!add_class(p, end)) return false;
      p = end;
    }
    return true;
  }

  bool read_pairs(const char* p, const char* last) {
    for (p = skip_blanks(p, last); p != last; p = skip_blanks(p, last)) {
      const char* const end = end_of_word(p, last);
      if (!add_class(p, end)) return false;
      const char* score = end;
      if (form_ == ListForm::kSparse) {
        if (end == last || *end != ':') return part_.fail(ListTextError::kNoScore, p, end);
        ++score;
      } else {
        score = skip_blanks(end, last);
      }
      const char* const score_end = end_of_word(score, last);
      if (score == score_end) return part_.fail(ListTextError::kNoScore, p, end);
      double value = 0.0;
      if (!read_double(score, score_end, value) || value != value) {
        return part_.fail(ListTextError::kScore, score, score_end);
      }
      part_.scores.push_back(value);
      p = score_end;
    }
    return true;
  }

  const char* text_;
  ListForm form_;
  Part& part_;
};

template <class T>
void copy_to(const std::vector<T>& from, T* to) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size() * sizeof(T));
}

}  // namespace

ListText read_list_text(Span<const char> text, ListForm form, const Runner& runner) {
  // Parts begin behind a line's end.
  std::vector<const char*> starts{text.begin()};
  while (text.end() - starts.back() > kBytesPerItem) {
    const char* const end = std::find(starts.back() + kBytesPerItem, static_cast<const char*>(text.end()), '\n');
    if (end == text.end()) break;
    starts.push_back(end + 1);
  }
  const std::int64_t items = static_cast<std::int64_t>(starts.size());
  starts.push_back(text.end());
  Array<Part> parts(items);
  runner.share(0.0, 0.9).run(items, [&](std::int64_t item, int) {
    Part& part = parts[item];
    LineReader reader(text.data(), form, part);
    const char* const last = starts[static_cast<std::size_t>(item) + 1];
    for (const char* p = starts[static_cast<std::size_t>(item)]; p != last; ++part.lines) {
      const void* const found = std::memchr(p, '\n', static_cast<std::size_t>(last - p));
      const char* const end = found == nullptr ? last : static_cast<const char*>(found);
      if (!reader.read(p, end)) return;
      p = end == last ? last : end + 1;
    }
  });

  ListText result;
  std::int64_t lines = 0;
  for (const Part& part : parts) {
    if (part.error != ListTextError::kNone) {
      result.error = part.error;
      result.error_line = lines + part.lines;
      result.error_first = part.error_first - text.data();
      result.error_length = part.error_last - part.error_first;
      return result;
    }
    lines += part.lines;
  }
  Array<std::int64_t> first_row(items + 1, 0), first_pair(items + 1, 0);
  for (std::int64_t item = 0; item < items; ++item) {
    first_row[item + 1] = first_row[item] + static_cast<std::int64_t>(parts[item].lengths.size());
    first_pair[item + 1] = first_pair[item] + static_cast<std::int64_t>(parts[item].classes.size());
  }
  const std::int64_t rows = first_row[items], pairs = first_pair[items];
  const bool has_ids = form != ListForm::kSparse;
  result.id_first.resize(has_ids ? rows : 0);
  result.id_length.resize(has_ids ? rows : 0);
  result.offset.resize(rows + 1);
  result.classes.resize(pairs);
  result.scores.resize(form == ListForm::kRanks ? 0 : pairs);
  result.offset.data()[0] = 0;
  runner.share(0.9, 1.0).run(items, [&](std::int64_t item, int) {
    Part& part = parts[item];
    copy_to(part.id_first, result.id_first.data() + first_row[item]);
    copy_to(part.id_length, result.id_length.data() + first_row[item]);
    copy_to(part.classes, result.classes.data() + first_pair[item]);
    copy_to(part.scores, result.scores.data() + first_pair[item]);
    std::int64_t end = first_pair[item];
    for (std::size_t row = 0; row < part.lengths.size(); ++row) {
      end += part.lengths[row];
      result.offset.data()[first_row[item] + static_cast<std::int64_t>(row) + 1] = end;
    }
    part = Part();
  });
  return result;
}

}  // namespace vltr::cpu
