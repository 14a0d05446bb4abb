// TFRecord files: records framed by a length and two checksums, and the protocol buffers tf.Example and
// tf.SequenceExample in them. Any bytes are safe to read: nothing outside the given memory is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/pool.hpp"

namespace vltr::cpu {

// CRC-32C (Castagnoli), by the processor's instruction where it has one. crc: that of the bytes before.
std::uint32_t crc32c(const unsigned char* data, std::size_t size, std::uint32_t crc = 0);

enum class RecordStatus { kWhole, kPartial, kBadLength, kBadData };

// The records of some memory. end: where the first record that is not whole starts, or the size. A record whose
// checksum is wrong is the one after the last that is listed.
struct RecordIndex {
  std::vector<std::int64_t> offset;
  std::vector<std::int64_t> length;
  RecordStatus status = RecordStatus::kWhole;
  std::int64_t end = 0;
};

RecordIndex index_records(const unsigned char* data, std::int64_t size, const Runner& runner);

enum class FeatureKind { kCount, kBytes, kFloat, kInt64 };  // kCount: only the number of steps

struct FeatureRequest {
  std::string name;
  FeatureKind kind = FeatureKind::kCount;
  bool in_lists = false;  // a feature of each step of a SequenceExample
};

// One feature of N records. offset: (N + 1) where the values of each record start; found: (N) whether it is there.
// spans: the start and the size of each bytes value within the data.
struct FeatureColumn {
  std::vector<std::int64_t> offset;
  std::vector<unsigned char> found;
  std::vector<std::int64_t> integers;
  std::vector<std::int64_t> spans;
  std::vector<float> floats;
};

enum class ParseStatus { kParsed, kMalformed, kOtherKind };

// record: the first one that cannot be read; request: the feature that is of another kind.
struct ParsedRecords {
  std::vector<FeatureColumn> columns;
  ParseStatus status = ParseStatus::kParsed;
  std::int64_t record = 0;
  std::int64_t request = 0;
};

ParsedRecords parse_records(const unsigned char* data, const std::int64_t* offset, const std::int64_t* length,
                            std::int64_t records, const std::vector<FeatureRequest>& requests, const Runner& runner);

// Replaces each byte of n spans, all `width` long, by an entry of a table of 256 elements. Returns the first span of
// another length, or -1.
std::int64_t expand_bytes(const unsigned char* data, const std::int64_t* spans, std::int64_t count, std::int64_t width,
                          const std::byte* table, std::int64_t element_size, std::byte* out, std::int64_t row_stride);

}  // namespace vltr::cpu
