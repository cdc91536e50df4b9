// The vectors of test/vectors: hand-written answers, one file per layer.
#pragma once

#include "stack.h"

namespace us::differential {

struct Vector {
    std::string name; // file, case and number
    Stack stack;
    Request request;
    std::vector<Piece> pieces;
};

std::vector<Vector> read_vectors(const std::string &file);

} // namespace us::differential
