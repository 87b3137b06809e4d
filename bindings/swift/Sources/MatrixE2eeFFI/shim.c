#include "MatrixE2eeFFI.h" // SwiftPM wants a source file in each target
