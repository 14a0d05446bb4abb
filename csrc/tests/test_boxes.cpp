// AVA's text and the order of boxes against slow code from their definitions, on hostile texts too.
//
// Every text and every column has a buffer of exactly its size, so that AddressSanitizer sees any access outside it.
#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <tuple>

#include "cpu/box_order.hpp"
#include "cpu/box_text.hpp"
#include "cpu/number_text.hpp"
#include "tests/check.hpp"

namespace vltr::cpu {
namespace {

using test::Random;
using test::trying;

constexpr int kThreads[] = {1, 2, 7};
constexpr std::size_t kPartBytes = std::size_t{1} << 18;  // as in box_text.cpp

// ---------------------------------------------------------------------------------------------------------------------
// The definition of plain text
// ---------------------------------------------------------------------------------------------------------------------

// Whether a text is a sign, digits with at most one point, and an exponent.
bool is_decimal(const std::string& text) {
  std::size_t i = 0, digits = 0;
  const auto skip_digits = [&] {
    const std::size_t from = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - from;
  };
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  digits += skip_digits();
  if (i < text.size() && text[i] == '.') ++i, digits += skip_digits();
  if (digits == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    if (skip_digits() == 0) return false;
  }
  return i == text.size();
}

// Whether a field is a finite number between blanks.
bool is_number(std::string field, double& value) {
  const std::size_t first = field.find_first_not_of(" \t");
  if (first == std::string::npos) return false;
  field = field.substr(first, field.find_last_not_of(" \t") - first + 1);
  if (!is_decimal(field)) return false;
  value = std::strtod(field.c_str(), nullptr);
  return std::isfinite(value);
}

struct Box {
  std::string name;
  double numbers[7];
  std::int64_t line;
};

struct Expected {
  bool plain = true;
  std::int64_t lines = 0;
  std::int64_t unscored_line = -1;
  std::vector<std::string> names;
  std::vector<Box> boxes, images;
};

Expected read_slowly(const std::string& text, bool boxes) {
  Expected expected;
  const auto refuse = [&] {
    expected.plain = false;
    return expected;
  };
  for (std::size_t start = 0; start < text.size(); ++expected.lines) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string line = text.substr(start, end - start);
    start = end + 1;
    if (line.empty()) continue;
    const bool quoted = line[0] == '"';
    const std::size_t stop = line.find(quoted ? '"' : ',', quoted ? 1 : 0);
    if (stop == std::string::npos) return refuse();
    Box box{line.substr(quoted ? 1 : 0, stop - (quoted ? 1 : 0)), {}, expected.lines};
    if (box.name.size() > 100'000) return refuse();
    std::string rest = line.substr(stop + (quoted ? 1 : 0));
    int count = 0;
    while (!rest.empty()) {
      if (rest[0] != ',' || count == 7) return refuse();
      const std::size_t comma = std::min(rest.find(',', 1), rest.size());
      if (!is_number(rest.substr(1, comma - 1), box.numbers[count])) return refuse();
      ++count;
      rest = rest.substr(comma);
    }
    if (count != 1 && !(boxes && count >= 6)) return refuse();
    if (count >= 6 &&
        !(std::trunc(box.numbers[5]) == box.numbers[5] && std::fabs(box.numbers[5] + 0.5) < 2147483648.0)) {
      return refuse();
    }
    if (count == 6) {
      box.numbers[6] = 1.0;
      if (expected.unscored_line < 0) expected.unscored_line = box.line;
    }
    if (std::find(expected.names.begin(), expected.names.end(), box.name) == expected.names.end()) {
      expected.names.push_back(box.name);
    }
    (count == 1 ? expected.images : expected.boxes).push_back(box);
  }
  return expected;
}

// ---------------------------------------------------------------------------------------------------------------------
// Comparison
// ---------------------------------------------------------------------------------------------------------------------

struct Columns {
  explicit Columns(std::int64_t rows)
      : video(static_cast<std::size_t>(rows)),
        time(video.size()),
        corners(4 * video.size()),
        cls(video.size()),
        score(video.size()) {}
  BoxColumns get() {
    return {
        static_cast<std::int64_t>(video.size()), video.data(), time.data(), corners.data(), cls.data(), score.data()};
  }

  std::vector<std::int32_t> video;
  std::vector<double> time, corners;
  std::vector<std::int32_t> cls;
  std::vector<double> score;
};

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void check_names(const std::string& text, const Expected& expected, const BoxText& found) {
  CHECK(found.name_first.size() == expected.names.size() && found.name_length.size() == expected.names.size());
  for (std::size_t name = 0; name < std::min(found.name_first.size(), expected.names.size()); ++name) {
    CHECK(text.substr(static_cast<std::size_t>(found.name_first[name]),
                      static_cast<std::size_t>(found.name_length[name])) == expected.names[name]);
  }
}

// Returns whether the text is plain.
bool check_text(const std::string& text, bool boxes) {
  const Expected expected = read_slowly(text, boxes);
  const std::int64_t lines =
      std::count(text.begin(), text.end(), '\n') + (!text.empty() && text.back() != '\n' ? 1 : 0);
  const std::unique_ptr<char[]> exact(new char[text.size()]);
  std::copy(text.begin(), text.end(), exact.get());
  const Span<const char> span(exact.get(), static_cast<std::int64_t>(text.size()));
  for (const int threads : kThreads) {
    trying = std::to_string(threads) + " threads, text of " + std::to_string(text.size()) + ": " + text.substr(0, 200);
    Columns columns(boxes ? lines : 0);
    const BoxText found = read_box_text(span, boxes, boxes ? columns.get() : BoxColumns{}, Runner{threads, {}});
    CHECK(found.plain == expected.plain);
    if (!found.plain || !expected.plain) continue;
    CHECK(found.lines == lines && expected.lines == lines);
    CHECK(found.boxes == static_cast<std::int64_t>(expected.boxes.size()));
    CHECK(found.unscored_line == expected.unscored_line);
    check_names(text, expected, found);
    std::map<std::string, std::int32_t> code;
    for (const std::string& name : expected.names) code.emplace(name, static_cast<std::int32_t>(code.size()));
    CHECK(found.box_line.size() == (found.boxes == lines ? 0 : expected.boxes.size()));
    for (std::size_t row = 0; row < expected.boxes.size(); ++row) {
      const Box& box = expected.boxes[row];
      CHECK(columns.video[row] == code[box.name] && columns.cls[row] == static_cast<std::int32_t>(box.numbers[5]));
      CHECK(same_bits(columns.time[row], box.numbers[0]) && same_bits(columns.score[row], box.numbers[6]));
      for (std::size_t corner = 0; corner < 4; ++corner) {
        CHECK(same_bits(columns.corners[4 * row + corner], box.numbers[1 + corner]));
      }
      if (!found.box_line.empty()) CHECK(found.box_line[row] == box.line);
    }
    CHECK(found.image_video.size() == expected.images.size() && found.image_time.size() == expected.images.size());
    for (std::size_t row = 0; row < std::min(found.image_video.size(), expected.images.size()); ++row) {
      CHECK(found.image_video[row] == code[expected.images[row].name]);
      CHECK(same_bits(found.image_time[row], expected.images[row].numbers[0]));
    }
  }
  return expected.plain;
}

// ---------------------------------------------------------------------------------------------------------------------
// Texts
// ---------------------------------------------------------------------------------------------------------------------

const char* const kNames[] = {"v",     "v",       "v", "v",    "video",    "vi",      "",
                              "\"v\"", "\"a,b\"", "a", "\"\"", "\xff\xfe", "\xc3\xa9"};
const char* const kNumbers[] = {"0",
                                "-0",
                                "0902",
                                ".5",
                                "1.",
                                "0.1234",
                                "0.123456789",
                                "-12.75",
                                "+.5",
                                "1e2",
                                "1E-3",
                                " 7",
                                "7\t",
                                "123456789012345678",
                                "1234567890123456789",
                                "9007199254740993",
                                "0.000000000000000001",
                                "18014398509481985",
                                "1e-400",
                                "4.9e-324",
                                "2.2250738585072011e-308",
                                "000000000000000000000000000001",
                                "1e00000000000000000002",
                                "123456789012345678901234567890e-20"};
const char* const kHostile[] = {"+-5",
                                "0x10",
                                "1e",
                                "--1",
                                ".",
                                "-",
                                "+",
                                "+.",
                                "1 2",
                                "1d3",
                                "nan",
                                "-inf",
                                "inf",
                                "1e999",
                                "-1e999",
                                "1_0",
                                "1e99999999999999999999",
                                "\"1\"",
                                "1\r",
                                "1..2",
                                "1.e",
                                "e5"};
const char* const kClasses[] = {"1", "80", "12.0", "1e1", "-3", "2147483647", "-2147483648", "-0"};
const char* const kBadClasses[] = {"1.5", "2147483648", "-2147483649", "1e300", "-1e300"};

template <std::size_t N>
std::string one_of(const char* const (&texts)[N], Random& random) {
  return texts[random.below(static_cast<int>(N))];
}

// hostile: one line in so many has a number or a class that is refused; 0 for none.
std::string make_line(Random& random, bool boxes, int hostile) {
  const auto bad = [&] { return hostile != 0 && random.below(hostile) == 0; };
  std::string line = one_of(kNames, random) + "," + (bad() ? one_of(kHostile, random) : one_of(kNumbers, random));
  if (!boxes || random.below(8) == 0) return random.below(8) == 0 ? "" : line;
  for (int corner = 0; corner < 4; ++corner) line += "," + one_of(kNumbers, random);
  line += "," + (bad() ? one_of(kBadClasses, random) : one_of(kClasses, random));
  if (random.below(3) != 0) line += "," + (bad() ? one_of(kHostile, random) : one_of(kNumbers, random));
  return line;
}

std::string make_text(Random& random, int lines, bool boxes, int hostile) {
  std::string text;
  for (int line = 0; line < lines; ++line) text += make_line(random, boxes, hostile) + "\n";
  if (random.below(2) == 0 && !text.empty()) text.pop_back();
  return text;
}

void plain_texts_are_read_as_defined() {
  Random random(1);
  for (int repeat = 0; repeat < 300; ++repeat) {
    const bool boxes = random.below(4) != 0;
    CHECK(check_text(make_text(random, random.below(12), boxes, 0), boxes));
  }
}

void hostile_fields_are_refused() {
  Random random(2);
  int refused = 0;
  for (int repeat = 0; repeat < 300; ++repeat) refused += check_text(make_text(random, 4, true, 6), true) ? 0 : 1;
  CHECK(refused > 50 && refused < 300);
  for (const char* const number : kHostile) {
    for (const char* const before : {"", "v,1,2,3,4,5,6,7\n"}) {  // without the name of the line before, and with it
      CHECK(!check_text(before + std::string("v,1,2,3,4,5,6,") + number + "\n", true));
      CHECK(!check_text(before + std::string("v,") + number + ",2,3,4,5,6,7", true));
    }
  }
}

// Bytes are changed, put in, taken out, and the text is cut at every place.
void mutated_texts_are_read_as_defined() {
  constexpr char kBytes[] = {',', '\n', '"', '\0', '\r', '.', '-', '+', 'e', ' ', '9', '\x80', '\xff'};
  Random random(3);
  for (int repeat = 0; repeat < 1500; ++repeat) {
    std::string text = make_text(random, 1 + random.below(4), true, 0);
    for (int change = 1 + random.below(3); change != 0 && !text.empty(); --change) {
      const std::size_t place = static_cast<std::size_t>(random.below(static_cast<int>(text.size())));
      const char byte = kBytes[random.below(sizeof kBytes)];
      const int kind = random.below(3);
      if (kind == 0) text[place] = byte;
      if (kind == 1) text.insert(place, 1, byte);
      if (kind == 2) text.erase(place, 1);
    }
    check_text(text, repeat % 8 != 0);
  }
  const std::string whole = "v,0902,0.1,.2,3,4.,12,0.5\nv,903,1,2,3,4,80\n\n\"a,b\",1\nv,904,1e0,2,3,4,5,1e-1\n";
  for (std::size_t size = 0; size <= whole.size(); ++size) check_text(whole.substr(0, size), true);
}

// A quoted name with a comma is no beginning of a line without quotes, and a name no beginning of a longer one.
void names_are_compared_whole() {
  CHECK(!check_text("\"a,1\",1,2,3,4,5,6,7\na,1,1,2,3,4,5,6,7\n", true));
  CHECK(check_text("\"a,1\",1,2,3,4,5,6,7\na,1,1,2,3,4,5,6\n", true));
  CHECK(check_text("ab,1,2,3,4,5,6,7\na,1,2,3,4,5,6\nab,1,2,3,4,5,6\nabc,1,2,3,4,5,6\n\"abc\",1,2,3,4,5,6", true));
  CHECK(check_text(",1,2,3,4,5,6,7\n,1,2,3,4,5,6\n\"\",1,2,3,4,5,6\n,9", true));
  for (const int excess : {0, 1}) {
    const std::string name(static_cast<std::size_t>(100'000 + excess), 'n');
    for (const char* const quote : {"", "\""}) {
      CHECK(check_text(quote + name + quote + ",1,2,3,4,5,6,7\nv,1\n", true) == (excess == 0));
    }
  }
}

// Lines end at, before and behind the place where a part may end.
void parts_end_at_lines() {
  Random random(4);
  for (const std::size_t excess : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
    for (const bool images : {false, true}) {
      std::string text;
      while (text.size() < kPartBytes - 200) text += "v" + std::to_string(random.below(9)) + ",902,.1,.2,.3,.4,12,.5\n";
      const std::string line = ",902,.1,.2,.3,.4,12,.5\n";
      text += std::string(kPartBytes - 1 + excess - text.size() - line.size(), 'w') + line;
      CHECK(text.size() == kPartBytes - 1 + excess);
      CHECK(check_text(text, true));
      text += images ? "new,5\n\nw,6\n" : "new,5,1,2,3,4,5\n";
      for (int more = 0; more < 500; ++more) text += "v" + std::to_string(more % 11) + ",903,.1,.2,.3,.4,80,.25\n";
      text.pop_back();
      CHECK(check_text(text, true));
      CHECK(!check_text(text + ",\n", true));
    }
  }
  // No part can end within one long line.
  CHECK(!check_text(std::string(3 * kPartBytes, '7'), true));
  CHECK(!check_text("v,1\nv," + std::string(2 * kPartBytes, '7'), true));
  CHECK(check_text("v,1\nv," + std::string(2 * kPartBytes, '0') + "7\n", true));
  CHECK(check_text(std::string(3 * kPartBytes, '\n'), true));
  CHECK(check_text(std::string(kPartBytes, '\n') + "v,1\nw,2\n" + std::string(kPartBytes, '\n') + "w,2\nx,1", false));
}

void too_little_room_is_an_error() {
  const std::string text = "v,1,2,3,4,5,6\n\nv,1,2,3,4,5,6";
  Columns columns(2);
  CHECK_THROWS(std::length_error,
               read_box_text({text.data(), static_cast<std::int64_t>(text.size())}, true, columns.get(), Runner{}));
}

void numbers_are_rounded_as_everywhere() {
  Random random(5);
  for (int repeat = 0; repeat < 20'000; ++repeat) {
    std::string text = random.below(2) == 0 ? "-" : "";
    const int digits = 1 + random.below(24), point = random.below(digits + 1);
    for (int digit = 0; digit < digits; ++digit) {
      if (digit == point) text += '.';
      text += static_cast<char>('0' + random.below(10));
    }
    if (random.below(2) == 0) text += "e" + std::to_string(random.below(700) - 350);
    trying = text;
    double found = 0.0, usual = 0.0;
    CHECK(read_double(text.data(), text.data() + text.size(), found));
    CHECK(same_bits(found, std::strtod(text.c_str(), nullptr)));
    const char* const end = read_usual_double(text.data(), text.data() + text.size(), usual);
    if (end == text.data() + text.size()) CHECK(same_bits(usual, found));
  }
}

// A locale may write a decimal comma.
void numbers_do_not_depend_on_the_locale() {
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  for (const char* const name : {"C", "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"}) {
    if (std::setlocale(LC_NUMERIC, name) == nullptr) continue;  // not installed
    trying = name;
    for (const auto& [text, expected] : {std::pair<std::string, double>{"1.5e400", HUGE_VAL},
                                         {"-1.5e400", -HUGE_VAL},
                                         {"1.5e-400", 0.0},
                                         {"-1.5e-400", -0.0},
                                         {"1.25", 1.25},
                                         {"1.0000000000000000000000001", 1.0}}) {
      double found = 7.0;
      CHECK(read_double(text.data(), text.data() + text.size(), found) && same_bits(found, expected));
    }
  }
  std::setlocale(LC_NUMERIC, before.c_str());
}

// ---------------------------------------------------------------------------------------------------------------------
// The order of boxes
// ---------------------------------------------------------------------------------------------------------------------

void boxes_are_ordered_by_content() {
  Random random(6);
  for (int repeat = 0; repeat < 60; ++repeat) {
    const int count = repeat < 50 ? random.below(40) : 20'000;
    const std::size_t size = static_cast<std::size_t>(count);
    std::vector<std::int32_t> cls(size);
    std::vector<double> corners(4 * size), score(size);
    for (std::int32_t& value : cls) value = random.below(3) - 1;
    for (double& value : corners) value = random.below(2);
    for (double& value : score) value = random.below(4);
    std::vector<std::int64_t> rows, offset{0};
    for (std::int64_t row = 0; row < count; ++row) {
      if (random.below(4) != 0) rows.push_back(row);
      if (random.below(repeat % 2 == 0 ? 4 : 900) == 0) offset.push_back(static_cast<std::int64_t>(rows.size()));
    }
    offset.push_back(static_cast<std::int64_t>(rows.size()));
    for (const std::int64_t limit : {0, 1, 3, 1'000'000}) {
      const auto content = [&](std::int64_t row) {
        const double* const box = corners.data() + 4 * row;
        return std::make_tuple(cls[static_cast<std::size_t>(row)], box[0], box[1], box[2], box[3],
                               score[static_cast<std::size_t>(row)], row);
      };
      std::vector<std::int64_t> expected;
      for (std::size_t group = 0; group + 1 < offset.size(); ++group) {
        std::vector<std::int64_t> own(rows.begin() + offset[group], rows.begin() + offset[group + 1]);
        std::sort(own.begin(), own.end(), [&](std::int64_t a, std::int64_t b) { return content(a) < content(b); });
        if (limit != 0) {
          std::stable_sort(own.begin(), own.end(), [&](std::int64_t a, std::int64_t b) {
            return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
          });
          own.resize(std::min(own.size(), static_cast<std::size_t>(limit)));
          std::sort(own.begin(), own.end(), [&](std::int64_t a, std::int64_t b) { return content(a) < content(b); });
        }
        expected.insert(expected.end(), own.begin(), own.end());
      }
      for (const int threads : kThreads) {
        trying = std::to_string(count) + " boxes, limit " + std::to_string(limit);
        std::vector<std::int64_t> kept(rows.size());
        const std::int64_t total = order_boxes(
            {cls.data(), corners.data(), score.data()}, {rows.data(), static_cast<std::int64_t>(rows.size())},
            {offset.data(), static_cast<std::int64_t>(offset.size())}, limit, kept.data(), Runner{threads, {}});
        kept.resize(static_cast<std::size_t>(total));
        CHECK(kept == expected);
      }
    }
  }
}

}  // namespace
}  // namespace vltr::cpu

int main() {
  using namespace vltr::cpu;
  return vltr::test::run_tests({
      {"plain_texts_are_read_as_defined", plain_texts_are_read_as_defined},
      {"hostile_fields_are_refused", hostile_fields_are_refused},
      {"mutated_texts_are_read_as_defined", mutated_texts_are_read_as_defined},
      {"names_are_compared_whole", names_are_compared_whole},
      {"parts_end_at_lines", parts_end_at_lines},
      {"too_little_room_is_an_error", too_little_room_is_an_error},
      {"numbers_are_rounded_as_everywhere", numbers_are_rounded_as_everywhere},
      {"numbers_do_not_depend_on_the_locale", numbers_do_not_depend_on_the_locale},
      {"boxes_are_ordered_by_content", boxes_are_ordered_by_content},
  });
}
