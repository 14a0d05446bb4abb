#include "cpu/box_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <unordered_map>

#include "cpu/number_text.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kBytesPerItem = std::int64_t{1} << 18;
constexpr std::int64_t kLongestName = 100'000;  // csv.reader of Python refuses quoted names that are a little longer
constexpr double kNanosecondsPerByte = 2.0;

// Numbers for names, in the order of their first use. Most rows have the name of the row before.
class Names {
 public:
  std::int32_t code_of(std::string_view name) {
    if (name == last_ && !names_.empty()) return last_code_;
    quick_ = 0;
    const auto [place, added] = codes_.try_emplace(name, static_cast<std::int32_t>(names_.size()));
    if (added) names_.push_back(name);
    last_ = name;
    last_code_ = place->second;
    return last_code_;
  }
  const std::vector<std::string_view>& names() const { return names_; }

  // Whether a line begins with the last name, without quotes, and a comma; then moves `first` behind it.
  bool skip_last(const char*& first, const char* last) const {
    const std::ptrdiff_t size = quick_;
    if (size == 0 || last - first < size) return false;
    if (first[size - 1] != ',' || std::memcmp(first, last_.data(), static_cast<std::size_t>(size - 1)) != 0)
      return false;
    first += size;
    return true;
  }
  // Says that the last name was a line's without quotes. A quoted one may have a comma.
  void allow_skip() { quick_ = static_cast<std::ptrdiff_t>(last_.size()) + 1; }
  std::int32_t last_code() const { return last_code_; }

 private:
  std::unordered_map<std::string_view, std::int32_t> codes_;
  std::vector<std::string_view> names_;
  std::string_view last_;
  std::int32_t last_code_ = 0;
  std::ptrdiff_t quick_ = 0;  // the size of the last name with its comma if `skip_last` may look for it
};

// The lines of one part of the text. Its boxes are written from row `first_line` on.
struct Part {
  std::int64_t first_line = 0;
  std::int64_t lines = 0;
  std::int64_t boxes = 0;
  std::int64_t unscored_line = -1;
  bool plain = true;
  bool all_boxes = true;
  Names names;
  std::vector<std::int32_t> box_line;  // set if not all lines are boxes
  std::vector<std::int32_t> image_video;
  std::vector<double> image_time;
};

class BoxReader {
 public:
  BoxReader(bool boxes, const BoxColumns& columns, Part& part) : boxes_(boxes), columns_(columns), part_(part) {}

  // Reads a line of a box with the name of the line before and numbers of the usual form. Returns the line's end, or
  // null for any other line, about which it says nothing.
  const char* read_usual(const char* p, const char* last) {
    if (!boxes_ || !part_.names.skip_last(p, last)) return nullptr;
    double numbers[7];
    for (int count = 0;;) {
      p = read_usual_double(p, last, numbers[count]);
      if (p == nullptr) return nullptr;
      ++count;
      if (p == last || *p == '\n') {
        return count >= 6 && add_box(part_.names.last_code(), numbers, count) ? p : nullptr;
      }
      if (*p != ',' || count == 7) return nullptr;
      ++p;
    }
  }

  // Returns false for a line that is not plain.
  bool read(const char* first, const char* last) {
    if (first == last) {
      leave_boxes();
      return true;
    }
    const bool quoted = *first == '"';
    std::string_view name;
    if (!read_name(first, last, name)) return false;
    double numbers[7];
    int count = 0;
    for (const char* p = first;; ++p) {
      const char* const end = std::find(p, last, ',');
      if (count == 7 || !read_number(p, end, numbers[count])) return false;
      ++count;
      if (end == last) break;
      p = end;
    }
    if (count == 1) return add_image(name, numbers[0]);
    if (!boxes_ || count < 6 || !add_box(part_.names.code_of(name), numbers, count)) return false;
    if (!quoted) part_.names.allow_skip();
    return true;
  }

 private:
  // Moves `first` behind the name and its comma.
  static bool read_name(const char*& first, const char* last, std::string_view& name) {
    const bool quoted = *first == '"';
    const char* const start = first + (quoted ? 1 : 0);
    const void* const found = std::memchr(start, quoted ? '"' : ',', static_cast<std::size_t>(last - start));
    if (found == nullptr) return false;
    const char* end = static_cast<const char*>(found);
    if (end - start > kLongestName) return false;
    name = {start, static_cast<std::size_t>(end - start)};
    if (quoted) ++end;
    if (end == last || *end != ',') return false;
    first = end + 1;
    return true;
  }

  static bool read_number(const char* first, const char* last, double& value) {
    while (first != last && is_blank(*first)) ++first;
    while (first != last && is_blank(last[-1])) --last;
    if (first == last) return false;
    if (*first == '+' && !(last - first > 1 && (is_digit(first[1]) || first[1] == '.'))) return false;
    return read_double(first, last, value) && std::isfinite(value);
  }

  bool add_image(std::string_view name, double time) {
    leave_boxes();
    part_.image_video.push_back(part_.names.code_of(name));
    part_.image_time.push_back(time);
    return true;
  }

  bool add_box(std::int32_t video, const double* numbers, int count) {
    const double cls = numbers[5];
    if (!(cls >= std::numeric_limits<std::int32_t>::min() && cls <= std::numeric_limits<std::int32_t>::max())) {
      return false;
    }
    const std::int32_t id = static_cast<std::int32_t>(cls);
    if (id != cls) return false;
    const std::int64_t row = part_.first_line + part_.boxes++;
    columns_.video[row] = video;
    columns_.time[row] = numbers[0];
    std::copy_n(numbers + 1, 4, columns_.corners + 4 * row);
    columns_.cls[row] = id;
    columns_.score[row] = count == 7 ? numbers[6] : 1.0;
    if (count == 6 && part_.unscored_line < 0) part_.unscored_line = part_.lines;
    if (!part_.all_boxes) part_.box_line.push_back(static_cast<std::int32_t>(part_.lines));
    return true;
  }

  // From the first line on that is no box, the lines of boxes are listed.
  void leave_boxes() {
    if (!part_.all_boxes) return;
    part_.all_boxes = false;
    for (std::int64_t line = 0; line < part_.boxes; ++line) {
      part_.box_line.push_back(static_cast<std::int32_t>(line));
    }
  }

  bool boxes_;
  const BoxColumns& columns_;
  Part& part_;
};

void read_part(const char* p, const char* last, BoxReader& reader, Part& part) {
  for (; p != last; ++part.lines) {
    if (const char* const usual = reader.read_usual(p, last)) {
      p = usual == last ? last : usual + 1;
      continue;
    }
    const void* const found = std::memchr(p, '\n', static_cast<std::size_t>(last - p));
    const char* const end = found == nullptr ? last : static_cast<const char*>(found);
    if (!reader.read(p, end)) {
      part.plain = false;
      return;
    }
    p = end == last ? last : end + 1;
  }
}

template <class T>
void move_rows(T* column, std::int64_t from, std::int64_t to, std::int64_t rows) {
  if (from != to && rows != 0) std::memmove(column + to, column + from, static_cast<std::size_t>(rows) * sizeof(T));
}

// With a last line that has no end.
std::int64_t count_lines(Span<const char> text) {
  std::int64_t ends = 0;
  for (const char* p = text.begin(); p != text.end();) {
    const char* const stop = p + std::min<std::ptrdiff_t>(text.end() - p, 255);
    std::uint8_t in_step = 0;  // compilers add many bytes at once
    for (; p != stop; ++p) in_step = static_cast<std::uint8_t>(in_step + (*p == '\n' ? 1 : 0));
    ends += in_step;
  }
  return ends + (text.size() != 0 && text.end()[-1] != '\n' ? 1 : 0);
}

}  // namespace

BoxText read_box_text(Span<const char> text, bool boxes, const BoxColumns& columns, const Runner& runner) {
  // Parts begin behind a line's end.
  std::vector<const char*> starts{text.begin()};
  while (text.end() - starts.back() > kBytesPerItem) {
    const char* const end = std::find(starts.back() + kBytesPerItem, static_cast<const char*>(text.end()), '\n');
    if (end == text.end()) break;
    starts.push_back(end + 1);
  }
  const std::size_t items = starts.size();
  starts.push_back(text.end());
  std::vector<Part> parts(items);
  std::int64_t line = 0;
  for (std::size_t item = 0; item < items; ++item) {
    parts[item].first_line = line;
    line += count_lines({starts[item], starts[item + 1] - starts[item]});
  }
  if (boxes && line > columns.room) throw std::length_error("columns: expected room for every line");
  const Runner workers = runner.for_cost(kNanosecondsPerByte * static_cast<double>(text.size()));
  workers.run(static_cast<std::int64_t>(items), [&](std::int64_t item, int) {
    const std::size_t number = static_cast<std::size_t>(item);
    BoxReader reader(boxes, columns, parts[number]);
    read_part(starts[number], starts[number + 1], reader, parts[number]);
  });

  BoxText result;
  if (!std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.plain; })) return result;
  result.plain = true;
  Names names;
  bool all_boxes = true;
  for (const Part& part : parts) all_boxes = all_boxes && part.all_boxes;
  for (Part& part : parts) {
    std::vector<std::int32_t> codes;
    bool changes = false;
    for (const std::string_view name : part.names.names()) {
      codes.push_back(names.code_of(name));
      changes = changes || codes.back() != static_cast<std::int32_t>(codes.size()) - 1;
    }
    const std::int64_t from = part.first_line, to = result.boxes;
    if (part.boxes != 0 && changes) {
      std::int32_t* const video = columns.video + from;
      for (std::int64_t row = 0; row < part.boxes; ++row) video[row] = codes[static_cast<std::size_t>(video[row])];
    }
    move_rows(columns.video, from, to, part.boxes);
    move_rows(columns.time, from, to, part.boxes);
    move_rows(columns.corners, 4 * from, 4 * to, 4 * part.boxes);
    move_rows(columns.cls, from, to, part.boxes);
    move_rows(columns.score, from, to, part.boxes);
    for (std::size_t image = 0; image < part.image_video.size(); ++image) {
      result.image_video.push_back(codes[static_cast<std::size_t>(part.image_video[image])]);
      result.image_time.push_back(part.image_time[image]);
    }
    if (!all_boxes) {
      for (std::int64_t row = 0; row < part.boxes; ++row) {
        const std::int64_t within = part.all_boxes ? row : part.box_line[static_cast<std::size_t>(row)];
        result.box_line.push_back(static_cast<std::int32_t>(part.first_line + within));
      }
    }
    if (result.unscored_line < 0 && part.unscored_line >= 0) {
      result.unscored_line = part.first_line + part.unscored_line;
    }
    result.boxes += part.boxes;
    result.lines += part.lines;
  }
  for (const std::string_view name : names.names()) {
    result.name_first.push_back(name.data() - text.data());
    result.name_length.push_back(static_cast<std::int64_t>(name.size()));
  }
  return result;
}

}  // namespace vltr::cpu
