// The CSV text of AVA's boxes: video,time,x1,y1,x2,y2,class[,score] a line, or video,time for an image without boxes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/span.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// Where the rows of boxes go. room: the rows that fit; it must be the number of lines at least.
struct BoxColumns {
  std::int64_t room = 0;
  std::int32_t* video = nullptr;
  double* time = nullptr;
  double* corners = nullptr;  // four a row
  std::int32_t* cls = nullptr;
  double* score = nullptr;
};

struct BoxText {
  // False for a text that has lines of another form, or numbers or quotes in an unusual one. Nothing else is set then.
  bool plain = false;
  std::int64_t lines = 0;
  std::int64_t boxes = 0;
  std::int64_t unscored_line = -1;       // the first line with seven columns, from 0; -1 if there is none
  std::vector<std::int64_t> name_first;  // the distinct names, in the order of their first line: bytes of the text
  std::vector<std::int64_t> name_length;
  std::vector<std::int32_t> box_line;     // of each row, from 0; empty if every line is a row of a box
  std::vector<std::int32_t> image_video;  // of the lines with two columns
  std::vector<double> image_time;
};

// Reads a text of whole lines that end as on Unix. boxes: false for a text that may have lines of two columns alone.
// Throws std::length_error if the columns have too little room.
BoxText read_box_text(Span<const char> text, bool boxes, const BoxColumns& columns, const Runner& runner);

}  // namespace vltr::cpu
