// Numbers in text, rounded as by Python's float.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <locale>
#include <sstream>
#include <string>

namespace vltr::cpu {

inline bool is_blank(char c) { return c == ' ' || c == '\t'; }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads any number, for those that the quick way below leaves.
inline bool read_any_double(const char* first, const char* last, double& value) {
  if (first != last && *first == '+') ++first;
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
  const auto [end, error] = std::from_chars(first, last, value);
  if (error == std::errc::result_out_of_range) {  // rounds to zero or to infinity, as everywhere
    std::istringstream stream(std::string(first, last));
    stream.imbue(std::locale::classic());  // strtod would stop at the point where a locale has a comma
    stream >> value;
    if (stream.fail()) value = std::copysign(std::numeric_limits<double>::infinity(), value);
    return end == last;
  }
  return error == std::errc() && end == last;
#else
  const std::string copy(first, last);
  char* end = nullptr;
  value = std::strtod(copy.c_str(), &end);
  // strtod also takes white space before a number, and numbers to base 16.
  return !copy.empty() && copy[0] > ' ' && copy.find_first_of("xX") == std::string::npos &&
         end == copy.c_str() + copy.size();
#endif
}

// The powers of ten that a double holds exactly.
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// Reads digits with at most one point and perhaps a minus sign, as `read_double` does. Returns the first place behind
// them, or null for numbers of other forms and for those that take more care.
inline const char* read_usual_double(const char* p, const char* last, double& value) {
  const bool negative = p != last && *p == '-';
  if (negative) ++p;
  std::uint64_t digits = 0;
  const char* const start = p;
  for (; p != last && is_digit(*p); ++p) digits = digits * 10 + static_cast<std::uint64_t>(*p - '0');
  std::ptrdiff_t count = p - start, places = 0;
  if (p != last && *p == '.') {
    const char* const fraction = ++p;
    for (; p != last && is_digit(*p); ++p) digits = digits * 10 + static_cast<std::uint64_t>(*p - '0');
    places = p - fraction;
    count += places;
  }
  if (count == 0 || count > 18 || digits > (std::uint64_t{1} << 53)) return nullptr;
  value = static_cast<double>(digits) / kPowersOfTen[places];
  if (negative) value = -value;
  return p;
}

// Reads a decimal number, correctly rounded: a product or quotient of two exact doubles is rounded once.
inline bool read_double(const char* first, const char* last, double& value) {
  const char* p = first;
  const bool negative = p != last && *p == '-';
  if (negative) ++p;
  std::uint64_t digits = 0;
  std::ptrdiff_t count = 0;  // a text may have more digits than an int counts
  int exponent = 0;
  const char* const start = p;
  for (; p != last && is_digit(*p); ++p, ++count) digits = digits * 10 + static_cast<std::uint64_t>(*p - '0');
  bool any = p != start;
  if (p != last && *p == '.') {
    const char* const fraction = ++p;
    for (; p != last && is_digit(*p); ++p, ++count) digits = digits * 10 + static_cast<std::uint64_t>(*p - '0');
    exponent = static_cast<int>(std::max<std::ptrdiff_t>(fraction - p, -1000));
    any = any || p != fraction;
  }
  if (!any || count > 18) return read_any_double(first, last, value);
  if (p != last && (*p == 'e' || *p == 'E')) {
    ++p;
    const bool down = p != last && *p == '-';
    if (p != last && (*p == '-' || *p == '+')) ++p;
    const char* const power = p;
    int stated = 0;
    for (; p != last && is_digit(*p) && p - power < 4; ++p) stated = stated * 10 + (*p - '0');
    if (p == power) return false;
    exponent += down ? -stated : stated;
  }
  if (p != last || digits > (std::uint64_t{1} << 53) || exponent < -22 || exponent > 22) {
    return read_any_double(first, last, value);
  }
  value = static_cast<double>(digits);
  value = exponent < 0 ? value / kPowersOfTen[-exponent] : value * kPowersOfTen[exponent];
  if (negative) value = -value;
  return true;
}

}  // namespace vltr::cpu
