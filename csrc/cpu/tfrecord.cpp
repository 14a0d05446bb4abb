#include "cpu/tfrecord.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>

#include "cpu/simd.hpp"
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace vltr::cpu {
namespace {

constexpr std::int64_t kHeader = 12;  // a length of 8 bytes and its checksum
constexpr std::int64_t kFooter = 4;
constexpr std::uint32_t kPolynomial = 0x82f63b78U;  // Castagnoli's, with the bits reversed

template <class T>
T load(const unsigned char* data) {
  T value;
  std::memcpy(&value, data, sizeof(value));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(value));
  std::reverse(bytes, bytes + sizeof(T));
  std::memcpy(&value, bytes, sizeof(value));
#endif
  return value;
}

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? kPolynomial : 0U);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}

// Slicing by 8.
std::uint32_t crc_by_tables(const unsigned char* data, std::size_t size, std::uint32_t crc) {
  static const Tables tables = make_tables();
  for (; size >= 8; data += 8, size -= 8) {
    const std::uint32_t low = crc ^ load<std::uint32_t>(data), high = load<std::uint32_t>(data + 4);
    crc = tables[7][low & 0xffU] ^ tables[6][(low >> 8) & 0xffU] ^ tables[5][(low >> 16) & 0xffU] ^
          tables[4][low >> 24] ^ tables[3][high & 0xffU] ^ tables[2][(high >> 8) & 0xffU] ^
          tables[1][(high >> 16) & 0xffU] ^ tables[0][high >> 24];
  }
  for (; size > 0; ++data, --size) crc = (crc >> 8) ^ tables[0][(crc ^ *data) & 0xffU];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc_by_instruction(const unsigned char* data, std::size_t size,
                                                                   std::uint32_t crc) {
  std::uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, load<std::uint64_t>(data));
  crc = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++data, --size) crc = _mm_crc32_u8(crc, *data);
  return crc;
}
#endif

// The checksums in the file are rotated and shifted, so that the checksum of data with checksums in it stays useful.
std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

// ---------------------------------------------------------------------------------------------------------------------
// Protocol buffers
// ---------------------------------------------------------------------------------------------------------------------

struct Malformed {};

// A message, or a part of one: the bytes that are not read yet.
class Message {
 public:
  Message() = default;
  Message(const unsigned char* begin, std::int64_t size) : next_(begin), end_(begin + size) {}

  bool at_end() const { return next_ == end_; }
  const unsigned char* begin() const { return next_; }
  std::int64_t size() const { return end_ - next_; }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (next_ == end_) throw Malformed{};
      const std::uint64_t byte = *next_++;
      value |= (byte & 0x7fU) << shift;
      if (byte < 0x80U) return value;
    }
    throw Malformed{};
  }

  const unsigned char* take(std::uint64_t count) {
    if (count > static_cast<std::uint64_t>(size())) throw Malformed{};
    const unsigned char* taken = next_;
    next_ += count;
    return taken;
  }

  // The part that its length precedes.
  Message part() {
    const std::uint64_t count = varint();
    const unsigned char* taken = take(count);
    return {taken, static_cast<std::int64_t>(count)};
  }

  void skip(std::uint64_t wire_type) {
    switch (wire_type) {
      case 0:
        varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        part();
        break;
      case 5:
        take(4);
        break;
      default:
        throw Malformed{};
    }
  }

 private:
  const unsigned char* next_ = nullptr;
  const unsigned char* end_ = nullptr;
};

constexpr std::uint64_t kPart = 2;  // the wire type of messages, texts and packed numbers

// Calls visit(field, message) for each field that is a message or text, and skips the others.
template <class Visit>
void for_each_part(Message message, const Visit& visit) {
  while (!message.at_end()) {
    const std::uint64_t tag = message.varint();
    if (tag >> 3 == 0) throw Malformed{};
    if ((tag & 7U) == kPart) {
      visit(tag >> 3, message.part());
    } else {
      message.skip(tag & 7U);
    }
  }
}

// The values of one tf.Feature, appended to a column. Throws OtherKind for another kind than requested.
struct OtherKind {};

void read_numbers(Message list, FeatureKind kind, FeatureColumn& column) {
  const auto number = [&](Message& from) {
    if (kind == FeatureKind::kInt64) {
      column.integers.push_back(static_cast<std::int64_t>(from.varint()));
    } else {
      column.floats.push_back(load<float>(from.take(4)));
    }
  };
  const std::uint64_t single = kind == FeatureKind::kInt64 ? 0 : 5;
  while (!list.at_end()) {
    const std::uint64_t tag = list.varint();
    if (tag >> 3 == 0) throw Malformed{};
    if (tag == (8U | kPart)) {
      Message packed = list.part();
      while (!packed.at_end()) number(packed);
    } else if (tag == (8U | single)) {
      number(list);
    } else {
      list.skip(tag & 7U);
    }
  }
}

void read_feature(const unsigned char* data, Message feature, FeatureKind kind, FeatureColumn& column) {
  // 1: a list of bytes, 2: of floats, 3: of integers. They exclude each other, so the last one counts.
  std::uint64_t found = 0;
  Message list;
  for_each_part(feature, [&](std::uint64_t field, Message part) {
    if (field < 1 || field > 3) return;
    found = field;
    list = part;
  });
  if (found == 0) return;  // no kind: no values
  if (kind == FeatureKind::kCount) return;
  if (found != static_cast<std::uint64_t>(kind)) throw OtherKind{};
  if (kind != FeatureKind::kBytes) return read_numbers(list, kind, column);
  for_each_part(list, [&](std::uint64_t field, Message value) {
    if (field != 1) return;
    column.spans.push_back(value.begin() - data);
    column.spans.push_back(value.size());
  });
}

// The key and the value of a map's entry.
struct Entry {
  Message key;
  Message value;
};

Entry read_entry(Message message) {
  Entry entry;
  for_each_part(message, [&](std::uint64_t field, Message part) {
    if (field == 1) entry.key = part;
    if (field == 2) entry.value = part;
  });
  return entry;
}

bool is_name(const Message& key, const std::string& name) {
  return key.size() == static_cast<std::int64_t>(name.size()) &&
         (name.empty() || std::memcmp(key.begin(), name.data(), name.size()) == 0);
}

std::int64_t count_of(const FeatureColumn& column, FeatureKind kind, std::int64_t steps) {
  switch (kind) {
    case FeatureKind::kBytes:
      return static_cast<std::int64_t>(column.spans.size() / 2);
    case FeatureKind::kFloat:
      return static_cast<std::int64_t>(column.floats.size());
    case FeatureKind::kInt64:
      return static_cast<std::int64_t>(column.integers.size());
    default:
      return (column.offset.empty() ? 0 : column.offset.back()) + steps;
  }
}

// Some consecutive records. The columns have the ends of the records' values in `offset`.
struct Step {
  std::vector<FeatureColumn> columns;
  ParseStatus status = ParseStatus::kParsed;
  std::int64_t record = 0;
  std::int64_t request = 0;
};

void parse_record(const unsigned char* data, Message record, const std::vector<FeatureRequest>& requests,
                  std::vector<Message>& values, std::vector<unsigned char>& found, Step& step) {
  std::fill(found.begin(), found.end(), static_cast<unsigned char>(0));
  // Field 1 of Example and SequenceExample: a map of features; field 2 of the latter: a map of lists of features. A
  // name that is there twice has its last value, as in every map of protocol buffers.
  for_each_part(record, [&](std::uint64_t field, Message part) {
    if (field > 2) return;
    for_each_part(part, [&](std::uint64_t inner, Message message) {
      if (inner != 1) return;
      const Entry entry = read_entry(message);
      for (std::size_t k = 0; k < requests.size(); ++k) {
        if (requests[k].in_lists == (field == 2) && is_name(entry.key, requests[k].name)) {
          values[k] = entry.value;
          found[k] = 1;
        }
      }
    });
  });
  for (std::size_t k = 0; k < requests.size(); ++k) {
    FeatureColumn& column = step.columns[k];
    step.request = static_cast<std::int64_t>(k);
    std::int64_t steps = 0;
    if (found[k] != 0 && requests[k].in_lists) {
      for_each_part(values[k], [&](std::uint64_t field, Message feature) {
        if (field != 1) return;
        read_feature(data, feature, requests[k].kind, column);
        ++steps;
      });
    } else if (found[k] != 0) {
      read_feature(data, values[k], requests[k].kind, column);
    }
    column.offset.push_back(count_of(column, requests[k].kind, steps));
    column.found.push_back(found[k]);
  }
}

template <class T>
void append(std::vector<T>& all, const std::vector<T>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

std::uint32_t crc32c(const unsigned char* data, std::size_t size, std::uint32_t crc) {
#if defined(__x86_64__)
  if (simd_level() != Simd::kGeneric) return ~crc_by_instruction(data, size, ~crc);
#endif
  return ~crc_by_tables(data, size, ~crc);
}

RecordIndex index_records(const unsigned char* data, std::int64_t size, const Runner& runner) {
  RecordIndex index;
  while (index.end < size) {
    const unsigned char* start = data + index.end;
    const std::int64_t left = size - index.end;
    if (left < kHeader) {
      index.status = RecordStatus::kPartial;
      break;
    }
    if (masked(crc32c(start, 8)) != load<std::uint32_t>(start + 8)) {
      index.status = RecordStatus::kBadLength;
      break;
    }
    const auto length = load<std::uint64_t>(start);
    if (left < kHeader + kFooter || length > static_cast<std::uint64_t>(left - kHeader - kFooter)) {
      index.status = RecordStatus::kPartial;
      break;
    }
    index.offset.push_back(index.end + kHeader);
    index.length.push_back(static_cast<std::int64_t>(length));
    index.end += kHeader + static_cast<std::int64_t>(length) + kFooter;
  }
  const auto records = static_cast<std::int64_t>(index.offset.size());
  const std::int64_t most =
      std::max<std::int64_t>(1, (std::int64_t{4} << 20) * records / std::max(index.end, std::int64_t{1}));
  const std::int64_t per_step = items_per_step(records, most, runner.threads);
  std::atomic<std::int64_t> first_bad{records};
  runner.run((records + per_step - 1) / per_step, [&](std::int64_t item, int) {
    for (std::int64_t k = item * per_step; k < std::min(records, (item + 1) * per_step); ++k) {
      const auto at = static_cast<std::size_t>(k);
      const unsigned char* start = data + index.offset[at];
      const std::uint32_t stated = load<std::uint32_t>(start + index.length[at]);
      if (masked(crc32c(start, static_cast<std::size_t>(index.length[at]))) == stated) continue;
      std::int64_t known = first_bad.load();
      while (k < known && !first_bad.compare_exchange_weak(known, k)) {
      }
      return;
    }
  });
  const auto bad = static_cast<std::size_t>(first_bad.load());
  if (bad < index.offset.size()) {
    index.status = RecordStatus::kBadData;
    index.end = index.offset[bad] - kHeader;
    index.offset.resize(bad);
    index.length.resize(bad);
  }
  return index;
}

ParsedRecords parse_records(const unsigned char* data, const std::int64_t* offset, const std::int64_t* length,
                            std::int64_t records, const std::vector<FeatureRequest>& requests, const Runner& runner) {
  const std::int64_t per_step = items_per_step(records, 1024, runner.threads);
  std::vector<Step> steps(static_cast<std::size_t>((records + per_step - 1) / per_step));
  runner.run(static_cast<std::int64_t>(steps.size()), [&](std::int64_t item, int) {
    Step& step = steps[static_cast<std::size_t>(item)];
    step.columns.resize(requests.size());
    std::vector<Message> values(requests.size());
    std::vector<unsigned char> found(requests.size());
    for (std::int64_t k = item * per_step; k < std::min(records, (item + 1) * per_step); ++k) {
      step.record = k;
      try {
        parse_record(data, {data + offset[k], length[k]}, requests, values, found, step);
      } catch (const Malformed&) {
        step.status = ParseStatus::kMalformed;
        return;
      } catch (const OtherKind&) {
        step.status = ParseStatus::kOtherKind;
        return;
      }
    }
  });
  ParsedRecords parsed;
  parsed.columns.resize(requests.size());
  for (FeatureColumn& column : parsed.columns) column.offset.push_back(0);
  for (Step& step : steps) {
    if (step.status != ParseStatus::kParsed) {
      parsed.status = step.status;
      parsed.record = step.record;
      parsed.request = step.request;
      return parsed;
    }
    for (std::size_t k = 0; k < requests.size(); ++k) {
      FeatureColumn &all = parsed.columns[k], &own = step.columns[k];
      const std::int64_t before = all.offset.back();
      for (const std::int64_t end : own.offset) all.offset.push_back(before + end);
      append(all.found, own.found);
      append(all.integers, own.integers);
      append(all.spans, own.spans);
      append(all.floats, own.floats);
      own = {};
    }
  }
  return parsed;
}

std::int64_t expand_bytes(const unsigned char* data, const std::int64_t* spans, std::int64_t count, std::int64_t width,
                          const std::byte* table, std::int64_t element_size, std::byte* out, std::int64_t row_stride) {
  for (std::int64_t row = 0; row < count; ++row) {
    if (spans[2 * row + 1] != width) return row;
  }
  const auto expand = [&](auto zero) {
    using T = decltype(zero);
    T entries[256];
    std::memcpy(entries, table, sizeof(entries));
    for (std::int64_t row = 0; row < count; ++row) {
      const unsigned char* from = data + spans[2 * row];
      std::byte* to = out + row * row_stride;
      for (std::int64_t k = 0; k < width; ++k)
        std::memcpy(to + k * static_cast<std::int64_t>(sizeof(T)), &entries[from[k]], sizeof(T));
    }
  };
  if (element_size == 2) {
    expand(std::uint16_t{});
  } else {
    expand(std::uint32_t{});
  }
  return -1;
}

}  // namespace vltr::cpu
