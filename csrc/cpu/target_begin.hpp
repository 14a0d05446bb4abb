// Compiles what follows for the instruction sets in VLTR_TARGET, until target_end.hpp.
#define VLTR_PRAGMA_TEXT(text) _Pragma(#text)
#define VLTR_PRAGMA(text) VLTR_PRAGMA_TEXT(text)
#if defined(__clang__)
VLTR_PRAGMA(clang attribute push(__attribute__((target(VLTR_TARGET))), apply_to = function))
#else
_Pragma("GCC push_options") VLTR_PRAGMA(GCC target(VLTR_TARGET))
#endif
